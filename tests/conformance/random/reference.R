# SPDX-License-Identifier: GPL-3.0-or-later
# What the random comparisons share: an exact one-stage fit (score equations solved with analytic
# gradients, started at lmer's optimum), a tight rma, running the lab, counting and the worst digits.
suppressMessages({library(lme4); library(pbkrtest); library(metafor); library(jsonlite)})
passed <- 0L; failed <- 0L; worst <- numeric(0)
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhobeg = 0.2, rhoend = 1e-12, maxfun = 1e6),
                     check.conv.singular = "ignore", check.conv.grad = "ignore", check.conv.hess = "ignore",
                     check.nobs.vs.nRE = "ignore", check.nobs.vs.nlev = "ignore", check.nlev.gtr.1 = "ignore",
                     check.rankX = "silent.drop.cols", check.scaleX = "ignore", calc.derivs = FALSE)
quiet <- function(x) suppressWarnings(suppressMessages(x))
# |ours - theirs| <= tol * max(|theirs|, floor); kind: the line of the closing table
check <- function(what, ours, theirs, tol, floor = 0, kind = NULL) {
  ours <- if (is.null(ours)) NA_real_ else as.numeric(ours); theirs <- as.numeric(theirs)
  same <- length(ours) == length(theirs) && all(is.finite(ours))
  d <- if (same) abs(ours - theirs) / pmax(abs(theirs), floor, 1e-300) else NA
  if (same) d[ours == theirs] <- 0
  ok <- same && all(d <= tol)
  if (!is.null(kind) && isTRUE(ok)) worst[kind] <<- max(d, worst[kind], na.rm = TRUE)
  if (isTRUE(ok)) passed <<- passed + 1L else {
    failed <<- failed + 1L
    cat("FAIL", what, if (same) sprintf("(off by %.1e)", max(d)), "\n  ours  ", format(ours, digits = 15),
        "\n  theirs", format(theirs, digits = 15), "\n")
  }
  invisible(isTRUE(ok))
}
expect <- function(what, ok, why = "") {
  if (isTRUE(ok)) passed <<- passed + 1L else { failed <<- failed + 1L; cat("FAIL", what, why, "\n") }
  invisible(isTRUE(ok))
}
# Run the lab on a data frame with a column `site` (not written). style: sep, dec, bom, eol, quote.
lab <- function(d, plan, map = NULL, style = list(), policy = "open") {
  dir <- tempfile("nof1"); dir.create(file.path(dir, "sites"), recursive = TRUE)
  on.exit(unlink(dir, recursive = TRUE))
  for (s in unique(d$site)) {
    f <- file(file.path(dir, "sites", paste0(s, ".csv")), "wb")
    if (isTRUE(style$bom)) writeBin(as.raw(c(0xef, 0xbb, 0xbf)), f)
    x <- d[d$site == s, names(d) != "site", drop = FALSE]
    for (n in names(x)) if (is.numeric(x[[n]])) { # all digits
      t <- ifelse(is.na(x[[n]]), "", sprintf("%.15g", x[[n]]))
      again <- !is.na(x[[n]]) & as.numeric(t) != x[[n]]
      t[again] <- sprintf("%.17g", x[[n]][again])
      x[[n]] <- if (is.null(style$dec)) t else sub(".", style$dec, t, fixed = TRUE)
    } else x[[n]] <- ifelse(is.na(x[[n]]), "", as.character(x[[n]]))
    write.table(x, f, sep = if (is.null(style$sep)) "," else style$sep, row.names = FALSE,
                quote = isTRUE(style$quote), eol = if (is.null(style$eol)) "\n" else style$eol)
    close(f)
  }
  p <- file.path(dir, "plan.yaml"); writeLines(plan, p); out <- file.path(dir, "out.json")
  a <- c("lab", "run", "--sites", file.path(dir, "sites"), "--plan", p, "--policy", policy, "--json", "--in-process", "--quiet")
  if (!is.null(map)) { m <- file.path(dir, "map.yaml"); writeLines(map, m); a <- c(a, "--map", m) }
  if (Sys.getenv("KEEP") != "") { unlink(Sys.getenv("KEEP"), recursive = TRUE); file.copy(dir, dirname(Sys.getenv("KEEP")), recursive = TRUE); file.rename(file.path(dirname(Sys.getenv("KEEP")), basename(dir)), Sys.getenv("KEEP")) }
  code <- suppressWarnings(system2(file.path(bin, "nof1"), a, stdout = out, stderr = file.path(dir, "err.txt"), timeout = 120))
  text <- paste(readLines(file.path(dir, "err.txt"), warn = FALSE), collapse = " ")
  json <- tryCatch(fromJSON(out), error = function(e) NULL)
  if (code != 0 && !is.null(json$refusal)) text <- paste(text, toJSON(json$refusal, auto_unbox = TRUE))
  list(code = code, json = if (code == 0) json, text = text)
}
# The exact optimum of y ~ X + (Z | g), Z = 1 or (1, treatment); lmer's theta starts it.
exact <- function(y, X, g, trt, effects, reml) {
  n <- length(y); p <- ncol(X); df <- if (reml) n - p else n
  rows <- split(seq_len(n), as.character(g))
  Z <- if (effects == 2) cbind(1, trt) else matrix(1, n, 1)
  unit <- if (effects == 2) list(matrix(c(1, 0, 0, 0), 2), matrix(c(0, 1, 1, 0), 2), matrix(c(0, 0, 0, 1), 2)) else list(matrix(1))
  root <- function(th) if (effects == 2) matrix(c(th[1], th[2], 0, th[3]), 2) else matrix(th[1])
  at <- function(th) {
    L <- root(th); G <- L %*% t(L); logdet <- 0
    Xw <- X; yw <- y; Zw <- Z
    for (r in rows) {
      Zi <- Z[r, , drop = FALSE]; R <- chol(diag(length(r)) + Zi %*% G %*% t(Zi)); logdet <- logdet + 2 * sum(log(diag(R)))
      w <- forwardsolve(t(R), cbind(X[r, , drop = FALSE], y[r], Zi))
      Xw[r, ] <- w[, 1:p]; yw[r] <- w[, p + 1]; Zw[r, ] <- w[, -(1:(p + 1))]
    }
    q <- qr(Xw, tol = 1e-14); e <- qr.resid(q, yw); S <- sum(e^2); b <- qr.coef(q, yw); R <- qr.R(q)[, order(q$pivot), drop = FALSE]
    Ci <- chol2inv(qr.R(q)); Ci[q$pivot, q$pivot] <- Ci
    slope <- numeric(length(unit))
    for (r in rows) {
      z <- Zw[r, , drop = FALSE]; A <- crossprod(Xw[r, , drop = FALSE], z); a <- drop(crossprod(z, e[r])); K <- crossprod(z)
      if (reml) K <- K - t(A) %*% Ci %*% A
      slope <- slope + sapply(unit, function(u) sum(K * u) - df / S * drop(a %*% u %*% a))
    }
    f <- logdet + df * (1 + log(2 * pi * S / df)) + if (reml) 2 * sum(log(abs(diag(qr.R(q))))) else 0
    grad <- if (effects == 2) c(2 * th[1] * slope[1] + th[2] * slope[2], th[1] * slope[2] + 2 * th[2] * slope[3], 2 * th[3] * slope[3]) else 2 * th * slope
    # d G12 = a db + b da and the unit has both halves
    list(f = f, grad = grad, beta = b, vcov = Ci * S / df, sigma2 = S / df, G = G * S / df, slope = slope)
  }
  newton <- function(th, free) {
    for (it in 1:30) {
      k <- which(free); if (!length(k)) break
      g0 <- at(th)$grad[k]; H <- matrix(0, length(k), length(k))
      for (j in seq_along(k)) { h <- 1e-5 * max(0.1, abs(th[k[j]])); u <- th; v <- th; u[k[j]] <- u[k[j]] + h; v[k[j]] <- v[k[j]] - h
        H[, j] <- (at(u)$grad[k] - at(v)$grad[k]) / (2 * h) }
      if (!all(is.finite(H))) break
      v <- eigen((H + t(H)) / 2, symmetric = TRUE); l <- pmax(abs(v$values), 1e-8 * max(abs(v$values))) # never towards a saddle
      s <- drop(v$vectors %*% (crossprod(v$vectors, g0) / l))
      if (!all(is.finite(s))) break
      s <- s * min(1, 0.5 * max(0.1, abs(th)) / max(abs(s)))
      th[k] <- th[k] - s
      if (max(abs(s)) < 1e-12 * max(1, abs(th))) break
    }
    th
  }
  d <- data.frame(y = y, g = g, trt = trt)
  fit <- quiet(lmer(if (effects == 2) y ~ 0 + X + (1 + trt | g) else y ~ 0 + X + (1 | g), d, REML = reml, control = tight))
  th <- getME(fit, "theta"); cand <- list()
  faces <- if (effects == 2) list(c(T, T, T), c(T, T, F), c(T, F, F), c(F, F, T), c(F, F, F)) else list(TRUE, FALSE)
  for (free in faces) for (b in if (length(th) == 3 && free[2]) c(0, 0.05, -0.05) else 0) {
    s <- th; s[free & s == 0] <- 0.05; s[!free] <- 0
    if (b != 0) s[2] <- b * (1 + abs(th[3]) / 0.05) # other signs of the correlation
    if (all(free) && length(th) == 3 && s[3] < 1e-6) s[3] <- 0.05
    s <- newton(s, free); v <- at(s); v$theta <- s; cand <- c(cand, list(v))
  }
  f <- sapply(cand, `[[`, "f"); best <- cand[[which(f <= min(f) + 1e-10 * max(1, abs(min(f))))[1]]]
  # of equal minima prefer the smallest face
  for (i in rev(seq_along(cand))) if (f[i] <= min(f) + 1e-11 * max(1, abs(min(f)))) { best <- cand[[i]]; break }
  best$lmer <- as.numeric(-2 * logLik(fit)); best$n <- n; best
}
kr <- function(y, X, g, trt, effects, theta) {
  d <- data.frame(y = y, g = g, trt = trt)
  if (theta[1] < 0) { k <- seq_len(min(2, length(theta))); theta[k] <- -theta[k] }
  if (length(theta) == 3) theta[3] <- abs(theta[3])
  fit <- quiet(lmer(if (effects == 2) y ~ 0 + X + (1 + trt | g) else y ~ 0 + X + (1 | g), d, REML = TRUE, start = theta,
                    control = lmerControl(optimizer = NULL, calc.derivs = FALSE, check.conv.singular = "ignore", check.rankX = "ignore", check.scaleX = "ignore")))
  v <- vcovAdj(fit); p <- ncol(X)
  list(se = unname(sqrt(diag(as.matrix(v)))), df = sapply(1:p, function(k) get_Lb_ddf(fit, as.numeric(1:p == k))))
}
# ours beside the exact fit of formula (fixed part) on d; shift, scale: y = shift + scale * d$y0
compare_mixed <- function(tag, r, d, fixed, effects, reml, df = "z", y = d$y, shift = 0, scale = 1, level = 0.95, tol = 1, far = NULL) {
  if (r$code != 0) { failed <<- failed + 1L; cat("FAIL", tag, "exit", r$code, r$text, "\n"); return(invisible()) }
  j <- r$json; used <- complete.cases(d[, unique(c("trial", "treatment", all.vars(fixed))), drop = FALSE]) & !is.na(y)
  d <- d[used, , drop = FALSE]; y <- (y[used] - shift) / scale
  if (!is.null(far)) d[[far]] <- d[[far]] - (origin <- round(mean(d[[far]]))) # the reference needs its digits too
  X <- model.matrix(fixed, droplevels(d)); keep <- qr(X, tol = 1e-10)
  X <- X[, sort(keep$pivot[seq_len(keep$rank)]), drop = FALSE]
  e <- exact(y, X, d$trial, d$.trt, effects, reml)
  se <- unname(sqrt(diag(e$vcov))) * scale; b <- unname(e$beta) * scale; b[1] <- b[1] + shift
  rows <- rep(TRUE, ncol(X))
  if (!is.null(far)) { main <- match(far, colnames(X)); by <- grep(":", colnames(X)); b[1] <- b[1] - origin * b[main]; rows[1] <- FALSE
    if (length(by)) { b[2] <- b[2] - origin * b[by]; rows[2] <- FALSE } }
  jac <- 2 * log(scale) * (e$n - if (reml) ncol(X) else 0)
  o <- j$estimates
  if (!expect(paste(tag, "columns"), nrow(o) == ncol(X), paste(c(o$term, "|", colnames(X)), collapse = " "))) return(invisible())
  check(paste(tag, "beta"), o$estimate, b, 1e-8 * tol, se, "mixed beta")
  check(paste(tag, "criterion"), if (reml) j$fit$REMLcrit else j$fit$deviance, e$f + jac, 1e-9 * tol, 1, "mixed criterion")
  if (e$f > e$lmer + 1e-6) cat("NOTE", tag, "reference above lmer", e$f - e$lmer, "\n")
  check(paste(tag, "nobs"), j$fit$nobs, e$n, 0); check(paste(tag, "trials"), j$fit$trials, length(unique(d$trial)), 0)
  v <- j$variance_components
  top <- max(e$sigma2, diag(e$G))
  ours <- v$estimate / scale^2
  theirs <- if (effects == 2) c(e$G[1, 1], e$G[2, 2], e$G[1, 2], e$sigma2) else c(e$G[1, 1], e$sigma2)
  check(paste(tag, "variances"), ours, theirs, 1e-7 * tol, top * 1e-2, "mixed variances")
  singular <- abs(det(e$G)) < 1e-9 * top^2
  expect(paste(tag, "boundary flag"), j$fit$boundary == (det(e$G / e$sigma2) < 1e-10), paste(j$fit$boundary, det(e$G / e$sigma2)))
  expect(paste(tag, "converged"), isTRUE(j$fit$converged))
  if (df == "kenward_roger") {
    k <- tryCatch(kr(y, X, d$trial, d$.trt, effects, e$theta), error = function(x) NULL)
    if (!is.null(k) && all(is.finite(c(k$se, k$df)))) {
      check(paste(tag, "KR se"), o$std.error[rows], k$se[rows] * scale, 1e-6 * tol, 0, "KR se")
      check(paste(tag, "KR df"), o$df[rows], k$df[rows], 1e-5 * tol, 0, "KR df")
    } else cat("NOTE", tag, "pbkrtest failed\n")
    se <- o$std.error; tq <- qt((1 + level) / 2, o$df); pv <- 2 * pt(-abs(o$estimate / se), o$df)
  } else {
    check(paste(tag, "se"), o$std.error[rows], se[rows], 1e-8 * tol, 0, "mixed se"); tq <- qnorm((1 + level) / 2); pv <- 2 * pnorm(-abs(o$estimate / o$std.error))
  }
  check(paste(tag, "interval"), c(o$conf.low, o$conf.high), c(o$estimate - tq * o$std.error, o$estimate + tq * o$std.error), 1e-9, max(abs(o$std.error)), "interval")
  check(paste(tag, "p"), o$p.value, pv, 1e-8, 1e-290, "p value")
}
