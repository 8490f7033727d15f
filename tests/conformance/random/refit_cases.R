# SPDX-License-Identifier: GPL-3.0-or-later
# Likelihood-ratio tests and profile intervals of mixed_model beside lmer run tight: logLik differences with the
# mixtures written out, and uniroot on the profile of the exact deviance (lmer's optimum given offsets or, for
# standard deviations, of dense matrices); lme4's own confint interpolates the profile, so it is compared looser.
refit_cases <- function(seed, only = NULL) {
  go <- function(name, f) if (is.null(only) || grepl(only, name)) { set.seed(seed * 7919 + sum(utf8ToInt(name)))
    tryCatch(f(name), error = function(e) { failed <<- failed + 1L; cat("FAIL", name, "script:", conditionMessage(e), "\n") }) }
  ll <- function(f, d, reml) { m <- quiet(lme4::lmer(f, d, REML = reml, control = tight)); as.numeric(logLik(m)) }
  mix <- function(x, df) 0.5 * (if (df == 1) x <= 0 else pchisq(x, df - 1, lower.tail = FALSE)) + 0.5 * pchisq(x, df, lower.tail = FALSE)
  table_of <- function(r, title) r$json$tables$cells[[grep(title, r$json$tables$title)]]
  # profile of the ML deviance at a held coefficient or standard deviation; V = s2 I + Z G Z'
  deviance_at <- function(d, X, Z, th, s2, y, drop = NULL) {
    G <- tcrossprod(th); f <- 0; C <- 0; b <- 0; parts <- split(seq_along(y), d$trial)
    for (i in parts) { z <- Z[i, , drop = FALSE]; V <- s2 * diag(length(i)) + z %*% G %*% t(z); ch <- tryCatch(chol(V), error = function(e) NULL)
      if (is.null(ch)) return(1e10) # where the search strays
       u <- backsolve(ch, cbind(X[i, , drop = FALSE], y[i]), transpose = TRUE)
      f <- f + 2 * sum(log(diag(ch))); k <- ncol(X); C <- C + crossprod(u) }
    f + length(y) * log(2 * pi) + if (ncol(X)) C[k + 1, k + 1] - sum(C[k + 1, 1:k] * solve(C[1:k, 1:k], C[1:k, k + 1])) else C[1, 1] }
  check_one <- function(name, d, q, reml, terms = "treatment") {
    f <- as.formula(paste("y ~", paste(terms, collapse = " + "), if (q == 2) "+ (1 + treatment | trial)" else "+ (1 | trial)"))
    r <- lab(d, plan_structure(terms, random_text[[if (q == 2) "slope" else "level"]], "iid", if (reml) "REML" else "ML", "z",
      extra = c("tests: [variances, fixed]", "interval: profile")), map_of())
    if (!expect(paste(name, "runs"), r$code == 0, r$text)) return(invisible())
    t <- table_of(r, "Likelihood"); v <- t[t$tested == "variance", ]; x <- t[t$tested == "fixed", ]
    small <- if (q == 2) ll(update(f, . ~ . - (1 + treatment | trial) + (1 | trial)), d, reml) else {
      l <- lm(as.formula(paste("y ~", paste(terms, collapse = " + "))), d); as.numeric(logLik(l, REML = reml)) }
    s <- max(0, 2 * (ll(f, d, reml) - small)); check(paste(name, "variance statistic"), v$statistic, s, 1e-6, 1, "LRT statistic"); check(paste(name, "variance p"), v$p.value, mix(v$statistic, q), 1e-9, 0.01, "LRT p")
    for (term in terms) { s <- 2 * (ll(f, d, FALSE) - ll(update(f, as.formula(paste(". ~ . -", term))), d, FALSE)); own <- x[x$term == term, ]
      check(paste(name, term, "statistic"), own$statistic, s, 1e-6, 1, "LRT statistic"); df <- if (term == "factor(period)") length(unique(d$period)) - 1 else 1
      check(paste(name, term, "p"), own$p.value, pchisq(own$statistic, df, lower.tail = FALSE), 1e-9, 0.01, "LRT p") }
    m <- quiet(lme4::lmer(f, d, REML = FALSE, control = tight)); X <- lme4::getME(m, "X"); Z <- if (q == 2) X[, 1:2] else X[, 1, drop = FALSE]
    best <- -2 * as.numeric(logLik(m)); e <- r$json$estimates; crit <- qchisq(0.95, 1)
    # at each reported end the exact profile must be at the cut: minimise over what is free, tight
    free_min <- function(fun, start) { o <- optim(start, fun, method = "BFGS", control = list(reltol = 1e-15, maxit = 1000)); o <- optim(o$par, fun, control = list(reltol = 1e-15, maxit = 5000)); optim(o$par, fun, method = "BFGS", control = list(reltol = 1e-15, maxit = 1000))$value }
    sd0 <- as.data.frame(lme4::VarCorr(m)); s20 <- sigma(m)^2; a0 <- sd0$sdcor[1]; b0 <- if (q == 2) sd0$sdcor[2]
    th <- function(u) if (q == 2) matrix(c(u[1], u[2], 0, u[3]), 2) else matrix(u[1]); start <- c(log(s20) / 2, if (q == 2) c(max(a0, 0.1), 0, max(b0, 0.1)) else max(a0, 0.1))
    for (c in seq_len(ncol(X))) for (end in c("conf.low", "conf.high")) {
      g <- free_min(function(u) deviance_at(d, X[, -c, drop = FALSE], Z, th(u[-1]), exp(2 * u[1]), d$y - e[[end]][c] * X[, c]), start)
      check(paste(name, e$term[c], end), g - best, crit, 1e-6, 1, "profile at the ends") }
    p <- table_of(r, "Standard"); held <- list(function(s, u) list(matrix(c(s, u[2], 0, if (q == 2) u[3]), q)[, seq_len(q), drop = FALSE], exp(2 * u[1])),
      function(s, u) list(matrix(c(u[2], 0, u[3], s)[c(1, 3, 2, 4)], 2) * 0 + rbind(c(u[2], u[3]), c(0, s)), exp(2 * u[1])), function(s, u) list(th(u), s^2))
    for (k in seq_len(nrow(p))) for (end in c("conf.low", "conf.high")) { s <- p[[end]][k]; what <- if (k == nrow(p)) 3 else k
      g <- free_min(function(u) { z <- held[[what]](s, u); if (q == 1 && what == 1) z[[1]] <- matrix(s); deviance_at(d, X, Z, z[[1]], z[[2]], d$y) }, if (what == 3) start[-1] else if (q == 1) start[1] else c(start[1], if (what == 1) c(0, start[4]) else c(start[2], 0)))
      if (s == 0) expect(paste(name, p$group[k], p$term[k], "zero"), g - best <= crit + 1e-6, g - best) else check(paste(name, p$group[k], p$term[k], end), g - best, crit, 1e-6, 1, "profile at the ends") }
    ci <- tryCatch(suppressWarnings(suppressMessages(confint(m, method = "profile", quiet = TRUE, signames = FALSE))), error = function(e) NULL)
    if (!is.null(ci)) { k <- match(c("(Intercept)", "treatmentb"), rownames(ci)); check(paste(name, "confint"), (e$conf.low[1:2] - ci[k, 1]) / e$std.error[1:2], c(0, 0), 1e-3, 1, "confint (in se)")
      k <- grep("^sd_|^sigma", rownames(ci)); good <- is.finite(ci[k, 1]) & is.finite(ci[k, 2]); check(paste(name, "confint sd"), (p$conf.high - ci[k, 2])[good], 0 * k[good], 2e-3, 1, "confint sd") }
  }
  for (i in 1:4) { go(paste("refit slope", i), function(n) check_one(n, nested(16, arm_sd = c(1.5, 0, 1, 2)[i], cycle_sd = 0), 2, i %% 2 == 1))
    go(paste("refit level", i), function(n) check_one(n, nested(14, between = c(3, 0.3, 0, 1)[i], arm_sd = 0, cycle_sd = 0), 1, i %% 2 == 0)) }
  go("refit period", function(n) check_one(n, nested(16, cycle_sd = 0), 2, TRUE, c("treatment", "factor(period)")))
}
