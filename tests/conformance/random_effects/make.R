# SPDX-License-Identifier: GPL-3.0-or-later
# Makes the data and the constants of tests/conformance/test_random_effects.c with metafor.
# metafor stops 1e-7 short of the optimum, so tau^2 and the ends of the Q-profile interval are
# polished here by Newton steps and then given to rma() as fixed; every number that is written is
# metafor's at that exact tau^2. Run in this folder: Rscript make.R
suppressPackageStartupMessages(library(metafor))
RNGkind("Mersenne-Twister", "Inversion", "Rejection")

number <- function(x) if (length(x) == 0 || is.na(x) || !is.finite(x)) "null" else sprintf("%.17g", x)
json <- function(x) {
  if (is.list(x)) {
    if (is.null(names(x))) return(paste0("[", paste(vapply(x, json, ""), collapse = ",\n"), "]"))
    return(paste0("{", paste0("\"", names(x), "\": ", vapply(x, json, ""), collapse = ", "), "}"))
  }
  if (is.character(x)) return(paste0("\"", x, "\""))
  if (length(x) > 1) return(paste0("[", paste(vapply(x, number, ""), collapse = ", "), "]"))
  number(x)
}

parts <- function(t, y, v, X) {
  w <- 1 / (v + t)
  A <- solve(crossprod(X, w * X))
  b <- A %*% crossprod(X, w * y)
  r <- w * (y - drop(X %*% b))
  P <- diag(w, length(w)) - (w * X) %*% A %*% t(w * X)
  list(q = sum(r * (y - drop(X %*% b))), yppy = sum(r^2), ypppy = drop(t(r) %*% P %*% r),
       trp = sum(diag(P)), trpp = sum(P * P), w = w)
}
polish_likelihood <- function(t, y, v, X, reml) {
  for (i in 1:60) {
    s <- parts(t, y, v, X)
    g <- s$yppy - if (reml) s$trp else sum(s$w)
    h <- -2 * s$ypppy + if (reml) s$trpp else sum(s$w^2)
    if (t <= 1e-9 * mean(v) && g <= 0) return(0)
    step <- -g / h
    if (h >= 0) step <- g / (if (reml) s$trpp else sum(s$w^2))
    t <- max(0, t + step)
    if (abs(step) <= 1e-15 * t) break
  }
  t
}
solve_q <- function(target, y, v, X) {
  f <- function(t) parts(t, y, v, X)$q
  if (f(0) <= target) return(0) # also both ends of an empty interval, as confint.rma.uni reports it
  up <- mean(v)
  while (f(up) > target) up <- up * 2
  t <- uniroot(function(t) f(t) - target, c(0, up), tol = 1e-12 * up, maxiter = 10000)$root
  for (i in 1:20) {
    s <- parts(t, y, v, X)
    step <- (s$q - target) / s$yppy
    t <- t + step
    if (abs(step) <= 1e-16 * t) break
  }
  t
}
tight_control <- function(v) list(threshold = 1e-11 * mean(v), maxiter = 20000, tol = 1e-13 * mean(v), tau2.max = 1e6 * max(v))
exact_fit <- function(y, v, X = cbind(rep(1, length(y))), method, test) {
  k <- length(y); p <- ncol(X)
  args <- list(yi = y, vi = v, method = method, test = test)
  if (p > 1) args$mods <- X[, -1, drop = FALSE]
  tight <- args
  tight$control <- tight_control(v)
  if (!(k > p)) return(suppressWarnings(do.call(rma, args)))
  m0 <- suppressWarnings(do.call(rma, tight))
  tau2 <- m0$tau2
  if (method %in% c("ML", "REML")) tau2 <- polish_likelihood(m0$tau2, y, v, X, method == "REML")
  if (method %in% c("EB", "PM")) tau2 <- solve_q(k - p, y, v, X)
  if (abs(tau2 - m0$tau2) > 1e-6 * (tau2 + mean(v))) print(c(method, test, tau2, m0$tau2, mean(v)))
  stopifnot(abs(tau2 - m0$tau2) <= 1e-6 * (tau2 + mean(v)))
  if (method != "FE") args$tau2 <- tau2
  if (method %in% c("EB", "PM")) args$method <- "PM"
  m <- suppressWarnings(do.call(rma, args))
  # se(tau^2) of the moment estimators is unchanged by fixing tau^2; SJ, HE too
  m
}
result <- function(y, v, X = cbind(rep(1, length(y))), method, test, level = 0.95) {
  k <- length(y); p <- ncol(X)
  m <- exact_fit(y, v, X, method, test)
  out <- list(method = method, test = test, k = k, beta = unname(drop(m$beta)), se = m$se,
              p = m$pval, low = m$ci.lb, high = m$ci.ub, tau2 = m$tau2,
              se_tau2 = if (method == "FE" || k == 1) NA else m$se.tau2, i2 = m$I2, h2 = m$H2, q = m$QE, qp = m$QEp)
  if (test == "knha" && k == 1) out[c("se", "p", "low", "high")] <- NA
  out$loglik <- if (method == "ML") m$fit.stats["ll", "ML"] else if (method == "REML") m$fit.stats["ll", "REML"] else NA
  if (method != "FE" && k > p) {
    a <- (1 - level) / 2
    out$tau2_low <- solve_q(qchisq(a, k - p, lower.tail = FALSE), y, v, X)
    out$tau2_high <- solve_q(qchisq(a, k - p), y, v, X)
    if (p == 1) {
      check <- suppressWarnings(confint(rma(y, v, method = method, control = tight_control(v)),
                       control = list(tol = 1e-13 * max(v), tau2.max = 1e4 * (out$tau2_high + max(v)), maxiter = 1e5)))$random[1, 2:3]
      stopifnot(abs(check - c(out$tau2_low, out$tau2_high)) <= 1e-6 * (out$tau2_high + 1e-9))
      pr <- predict(m); hts <- predict(m, pi.type = "riley")
      out$pi_low <- pr$pi.lb; out$pi_high <- pr$pi.ub
      # riley counts estimated parameters; with tau^2 handed over it must be told: t with k - 2
      crit <- if (k > 2) qt(a, k - 2, lower.tail = FALSE) else NA
      half <- crit * sqrt(m$se^2 + m$tau2)
      out$hts_low <- drop(m$beta) - half; out$hts_high <- drop(m$beta) + half
      free <- suppressWarnings(rma(y, v, method = method, test = test, control = tight_control(v)))
      if (k > 2) stopifnot(abs(predict(free, pi.type = "riley")$pi.lb - out$hts_low) <= 1e-6 * (abs(out$hts_low) + sqrt(max(v))))
    }
  }
  if (p > 1) { out$qm <- m$QM; out$qmp <- m$QMp }
  out
}
methods <- c("FE", "DL", "HE", "HS", "SJ", "ML", "REML", "EB", "PM")
all_methods <- function(y, v, X = cbind(rep(1, length(y))))
  unlist(lapply(c("z", "knha"), function(test) lapply(methods, function(m) result(y, v, X, m, test))), recursive = FALSE)

# One row a trial from rows: mean differences and pooled variance, written out independently of the
# program under test.
by_cycles <- function(d) {
  cyc <- aggregate(y ~ trial + cycle + treatment + period, d, mean)
  cyc <- aggregate(y ~ trial + cycle + treatment, cyc, mean)
  w <- merge(cyc[cyc$treatment == 0, c("trial", "cycle", "y")], cyc[cyc$treatment == 1, c("trial", "cycle", "y")], by = c("trial", "cycle"))
  w$d <- w$y.y - w$y.x
  k <- tapply(w$d, w$trial, length); m <- tapply(w$d, w$trial, mean)
  ss <- tapply(w$d, w$trial, function(x) sum((x - mean(x))^2))
  s2 <- sum(ss) / sum(k - 1)
  list(id = names(k), y = as.vector(m), v = as.vector(s2 / k), s2 = s2, df = sum(k - 1), own = as.vector(ss / (k - 1) / k))
}
by_periods <- function(d) {
  per <- aggregate(y ~ trial + period + treatment, d, mean)
  s <- split(per, per$trial)
  ok <- vapply(s, function(x) all(0:1 %in% x$treatment), NA)
  s <- s[ok]
  m <- vapply(s, function(x) mean(x$y[x$treatment == 1]) - mean(x$y[x$treatment == 0]), 0)
  u <- vapply(s, function(x) sum(1 / table(x$treatment)), 0)
  ss <- vapply(s, function(x) sum(tapply(x$y, x$treatment, function(z) sum((z - mean(z))^2))), 0)
  df <- vapply(s, function(x) nrow(x) - 2, 0)
  s2 <- sum(ss) / sum(df)
  list(id = names(s), y = unname(m), v = unname(s2 * u), s2 = s2, df = sum(df), own = unname(ss / df * u))
}
simulate <- function(trials, cycles, tau, sigma, seed, mu = -1.2, level = 8, loss = 0, offset = 50, rows = 1) {
  set.seed(seed)
  out <- NULL
  for (i in seq_len(trials)) {
    k <- cycles[(i - 1) %% length(cycles) + 1]
    a <- rnorm(1, offset, level); eff <- rnorm(1, mu, tau)
    age <- round(runif(1, 20, 80)); stratum <- c("a", "b", "c")[(i - 1) %% 3 + 1]
    for (c in seq_len(k)) {
      order <- sample(0:1)
      for (s in 1:2) for (r in seq_len(rows)) {
        keep <- runif(1) >= loss
        y <- round(a + eff * order[s] + rnorm(1, 0, sigma), 2)
        out <- rbind(out, data.frame(trial = sprintf("t%03d", i), cycle = c, period = 2 * (c - 1) + s, treatment = order[s],
                                     y = if (keep) y else NA, age = age, stratum = stratum))
      }
    }
  }
  out
}
save_csv <- function(d, name) {
  d$y <- ifelse(is.na(d$y), "", sprintf("%.17g", d$y))
  write.csv(d, name, row.names = FALSE, quote = FALSE, na = "")
}
seen <- function(d) d[!is.na(d$y), ]

cases <- list()
add <- function(name, file, text, s, fits) cases[[length(cases) + 1]] <<-
  list(name = name, file = file, text = text, sigma2 = s$s2, df = s$df, fits = fits)

bcg <- escalc(measure = "RR", ai = tpos, bi = tneg, ci = cpos, di = cneg, data = dat.bcg)
write.csv(data.frame(trial = bcg$trial, y = sprintf("%.17g", bcg$yi), v = sprintf("%.17g", bcg$vi), ablat = bcg$ablat),
          "bcg.csv", row.names = FALSE, quote = FALSE)
none <- list(s2 = NA, df = NA)
add("bcg", "bcg.csv", "variance: v\\nwithin_variance: own", none, all_methods(as.numeric(bcg$yi), bcg$vi))
Xb <- cbind(1, bcg$ablat)
add("bcg latitude", "bcg.csv", "variance: v\\nwithin_variance: own\\nmoderators: [ablat]", none,
    all_methods(as.numeric(bcg$yi), bcg$vi, Xb))

d <- simulate(36, c(2, 3, 4), 1.5, 2, 11); save_csv(d, "complete.csv"); s <- by_cycles(d)
add("complete", "complete.csv", "incomplete: auto", s, all_methods(s$y, s$v))
p <- by_periods(d)
add("complete, periods", "complete.csv", "incomplete: pool", p, all_methods(p$y, p$v))
o <- by_cycles(d)
add("complete, own", "complete.csv", "incomplete: cycles\\nwithin_variance: own", none, all_methods(o$y, o$own))
tr <- d[!duplicated(d$trial), ]; tr <- tr[match(s$id, tr$trial), ]
Xm <- cbind(1, tr$age, as.numeric(tr$stratum == "b"), as.numeric(tr$stratum == "c"))
add("moderators", "complete.csv", "moderators: [age, stratum]", s, all_methods(s$y, s$v, Xm))

d <- simulate(45, c(3, 4), 2, 2.5, 12, loss = 0.2, rows = 2); save_csv(d, "missing.csv"); s <- by_periods(seen(d))
add("missing", "missing.csv", "incomplete: auto", s, all_methods(s$y, s$v))
s <- by_cycles(seen(d))
add("missing, cycles", "missing.csv", "incomplete: cycles", s, all_methods(s$y, s$v))

o <- seen(d) # incomplete: exclude keeps trials whose rows all lie in complete cycles
both <- with(o, ave(treatment, trial, cycle, FUN = function(x) length(unique(x)))) == 2
o <- o[ave(both, o$trial, FUN = all) == 1, ]
s <- by_cycles(o)
add("missing, exclude", "missing.csv", "incomplete: exclude", s, all_methods(s$y, s$v))

d <- simulate(36, c(2, 3, 4), 1.5, 2, 11)
s <- by_cycles(d[d$stratum != "b", ])
add("strata", "complete.csv", "incomplete: cycles", s, all_methods(s$y, s$v))

d <- simulate(20, c(3, 4), 0, 3, 42); save_csv(d, "tau0.csv"); s <- by_cycles(d)
add("tau2 at 0", "tau0.csv", "incomplete: auto", s, all_methods(s$y, s$v))
add("tau2 at 0, rounds", "tau0.csv", "incomplete: cycles\\nwithin_variance: own", none, all_methods(s$y, s$own))
d <- simulate(20, c(3, 4), 0, 3, 115); save_csv(d, "empty.csv"); s <- by_cycles(d)
add("empty interval", "empty.csv", "incomplete: auto", s, all_methods(s$y, s$v))

d <- simulate(1, 5, 1, 2, 21); save_csv(d, "one.csv"); s <- by_cycles(d)
add("one trial", "one.csv", "incomplete: cycles", s, all_methods(s$y, s$v))
d <- simulate(2, c(4, 6), 3, 1, 22); save_csv(d, "two.csv"); s <- by_cycles(d)
add("two trials", "two.csv", "incomplete: cycles", s, all_methods(s$y, s$v))

# Many patterns, several of one trial: the weight basis and its correction rounds.
d <- simulate(64, c(4, 5), 2, 2.5, 13, loss = 0.3); save_csv(d, "patterns.csv"); s <- by_periods(seen(d))
add("patterns", "patterns.csv", "incomplete: pool", s, all_methods(s$y, s$v))

# Offset and units: the same data as complete.csv, so the same t values.
d <- simulate(36, c(2, 3, 4), 1.5, 2, 11)
for (f in list(c("offset.csv", 1, 1e8), c("micro.csv", 1e-6, 0), c("mega.csv", 1e6, 0))) {
  e <- d; e$y <- d$y * as.numeric(f[2]) + as.numeric(f[3]); save_csv(e, f[1])
  e <- read.csv(f[1]); s <- by_cycles(e)
  add(f[1], f[1], "incomplete: cycles", s, lapply(c("REML", "DL", "PM"), function(m) result(s$y, s$v, method = m, test = "knha")))
}

cat(json(list(made_by = "make.R", R = R.version.string, metafor = as.character(packageVersion("metafor")), cases = cases)),
    "\n", file = "expected.json")
