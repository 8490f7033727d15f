# SPDX-License-Identifier: GPL-3.0-or-later
# mixed_model with correlated residuals beside nlme run tight (which stops near the optimum, never below it), with
# times far from zero, and with sites beside as many trials.
serial_cases <- function(seed, only = NULL) {
  suppressMessages(library(nlme))
  go <- function(name, f) if (is.null(only) || grepl(only, name)) { set.seed(seed * 7919 + sum(utf8ToInt(name)))
    tryCatch(f(name), error = function(e) { failed <<- failed + 1L; cat("FAIL", name, "script:", conditionMessage(e), "\n") }) }
  draw <- function(n, T, rho, keep = 1, step = function(k) rep(1, k), change = 0) { d <- do.call(rbind, lapply(seq_len(n), function(i) {
    t <- cumsum(c(1, step(T - 1))); x <- as.vector(replicate(T / 2, sample(0:1))); D <- abs(outer(t, t, "-"))
    y <- 20 + rnorm(1, 0, 2) + x * (1 + rnorm(1, 0, change)) + as.numeric(t(chol(sign(rho)^D * abs(rho)^D)) %*% rnorm(T))
    d <- data.frame(site = "h1", trial = sprintf("t%03d", i), cycle = NA, period = seq_len(T), time = t, treatment = c("a", "b")[x + 1], y = round(y, 3))
    d[runif(T) < keep | seq_len(T) < 3, ] })); d$site <- paste0("h", as.integer(factor(d$trial)) %% 3); d }
  plan <- function(random, residual, method, extra = NULL, fixed = "[treatment]") c("plan: 1", "title: t", "outcome: y", "treatment: {reference: a, active: [b]}",
    "analysis: mixed_model", paste("fixed:", fixed), paste("random:", random), paste("residual:", residual), paste("method:", method), "df: z", extra)
  for (i in 1:10) go(paste("serial", i), function(name) {
    q <- (i %% 3 > 0) + (i == 7); method <- c("REML", "ML")[1 + i %% 2]; whole <- i %% 4 > 0
    d <- draw(sample(15:35, 1), sample(c(6, 8, 10), 1) + 4 * (i == 7), c(0.5, -0.3, 0.2, 0.7)[1 + i %% 4], if (i %% 2) 0.85 else 1,
      if (whole) function(k) rep(1, k) else function(k) round(runif(k, 0.3, 2), 2), if (i == 7) 1.5 else 0)
    if (!whole) d <- draw(25, 8, 0.6, 0.9, function(k) round(runif(k, 0.3, 2), 2))
    p <- plan(c("{trial: []}", "{trial: [intercept]}", "{trial: [intercept, treatment]}")[q + 1], if (whole) "ar1" else "car1", method)
    r <- lab(d, p); if (!expect(paste(name, "runs"), r$code == 0, r$text)) return(invisible())
    gaps <- any(unlist(tapply(d$time, d$trial, diff)) != 1); cor <- if (whole) corARMA(0.1, form = ~ time | trial, p = 1) else corCAR1(0.3, form = ~ time | trial)
    f <- if (q == 0) gls(y ~ treatment, d, cor, method = method, control = glsControl(msTol = 1e-14, tolerance = 1e-12)) else
      lme(y ~ treatment, d, if (q == 1) ~ 1 | trial else ~ treatment | trial, correlation = cor, method = method, control = lmeControl(msTol = 1e-14, tolerance = 1e-12, niterEM = 200, msMaxIter = 500, returnObject = TRUE))
    l <- as.numeric(logLik(f)); expect(paste(name, "criterion"), r$json$fit$logLik >= l - 1e-7, sprintf("%.9f below %.9f", r$json$fit$logLik, l))
    check(paste(name, "likelihood"), r$json$fit$logLik, l, 1e-7, 1, "serial logLik")
    b <- if (q == 0) coef(f) else fixef(f); check(paste(name, "beta"), (r$json$estimates$estimate - b) / r$json$estimates$std.error, 0 * b, 1e-4, 1, "serial beta (in se)")
    check(paste(name, "rho"), r$json$residual_correlation, coef(f$modelStruct$corStruct, unconstrained = FALSE), 1e-3, 1, "serial rho")
    many <- length(unique(tapply(paste(d$period, d$treatment), d$trial, paste, collapse = " "))) > 16 # as derived charters hold
    if (whole && q < 2 && all(d$time == d$period)) { o <- lab(d, c(p, "by: period", "incomplete: class")); if (!(many && o$code != 0) && expect(paste(name, "one round runs"), o$code == 0, o$text)) {
      expect(paste(name, "one round"), o$json$form == "class" && o$json$fit$rounds == 1, o$json$form)
      check(paste(name, "one round likelihood"), o$json$fit$logLik, r$json$fit$logLik, 1e-9, 1, "serial class logLik")
      check(paste(name, "one round beta"), (o$json$estimates$estimate - r$json$estimates$estimate) / r$json$estimates$std.error, 0 * b, 1e-6, 1, "serial class beta (in se)")
      f3 <- d; f3$site <- paste0("h", as.integer(factor(f3$trial)) %% 12); o3 <- lab(f3, c(p, "by: period", "incomplete: class")); expect(paste(name, "one round, 12 sites"), identical(o3$json$estimates, o$json$estimates), o3$text) } }
    e <- d[order(match(d$trial, sample(unique(d$trial))), d$time), ]
    for (sites in c(1, 12)) { e$site <- paste0("h", as.integer(factor(e$trial)) %% sites); a <- lab(e, p)
      expect(paste(name, "same bits at", sites, "sites"), identical(a$json$estimates, r$json$estimates), a$text) } })
  go("serial equal times", function(name) { d <- draw(12, 6, 0.5); d$time <- ceiling(d$time / 2); r <- lab(d, plan("{trial: [intercept]}", "ar1", "REML")); expect(name, r$code != 0, "ran") })
  go("serial two rows", function(name) { d <- draw(12, 2, 0.5); r <- lab(d, plan("{trial: [intercept]}", "ar1", "REML")); expect(name, r$code != 0 && grepl("serial correlation", r$text), r$text) })
  go("serial Julian days", function(name) { d <- draw(14, 6, 0.1); p <- plan("{trial: [intercept]}", "iid", "REML", fixed = "[treatment, time]")
    d$time <- d$time * 7 + as.integer(factor(d$trial)); a <- lab(d, p); d$time <- d$time + 2456000; b <- lab(d, p)
    if (!expect(paste(name, "runs"), a$code == 0 && b$code == 0, b$text)) return(invisible())
    check(name, b$json$estimates$estimate[2:3], a$json$estimates$estimate[2:3], 1e-9, 0, "times far from zero")
    check(paste(name, "intercept"), b$json$estimates$estimate[1], a$json$estimates$estimate[1] - 2456000 * a$json$estimates$estimate[3], 1e-9, 1, "times far from zero") })
  go("serial sites", function(name) { d <- draw(12, 6, 0.1); d$site <- d$trial; r <- lab(d, plan("{trial: [intercept]}", "iid", "REML", fixed = "[treatment, site]")); expect(name, r$code == 3 && grepl("sites", r$text), r$text) })
}
