# SPDX-License-Identifier: GPL-3.0-or-later
# baseline_treatment beside nlme run tight (which stops at about 1e-6 of the optimum, never below it),
# through the program; the same data split over other sites must give the same bits.
baseline_cases <- function(seed, only = NULL) {
  suppressMessages(library(nlme))
  draw <- function(n, T, starts, rho, keep, level = 2, change = 0) do.call(rbind, lapply(seq_len(n), function(i) {
    t <- seq_len(T); s <- starts[1 + i %% length(starts)]; x <- as.integer(t >= s)
    e <- as.numeric(t(chol(rho^abs(outer(t, t, "-")))) %*% rnorm(T))
    y <- 50 + rnorm(1, 0, level) + 0.2 * t + x * (3 + rnorm(1, 0, change) + 0.3 * (t - s)) + e
    d <- data.frame(site = "h1", trial = sprintf("p%02d", i), cycle = NA, period = t, time = t, treatment = ifelse(x == 1, "B", "A"), y = round(y, 3), x = x, s = x * (t - s))
    d$y[runif(T) > keep & !(t %in% c(1, T, s))] <- NA; d }))
  plan <- function(residual, by, random, method) c("plan: 1", "title: t", "outcome: y", "treatment: {reference: A, active: [B]}", "analysis: baseline_treatment",
    paste("residual:", residual), paste("by:", by), paste0("random: {trial: [", paste(random, collapse = ", "), "]}"), paste("method:", method), "df: z")
  for (i in 1:10) {
    name <- paste("baseline", i); if (!is.null(only) && !grepl(only, name)) next
    set.seed(seed * 100 + i)
    same <- i %% 2 == 0; serial <- i %% 3 > 0; method <- c("REML", "ML")[1 + i %% 2]; random <- if (i %% 5 == 0) character(0) else "intercept"
    d <- draw(sample(10:30, 1), sample(8:14, 1), if (same) 5 else 4:6, if (serial) 0.5 else 1e-9, if (same) 1 else 0.85)
    d$site <- paste0("h", as.integer(factor(d$trial)) %% 3)
    p <- plan(if (serial) "ar1" else "iid", if (same) "period" else "time", random, method)
    wire <- function(d) d[, setdiff(names(d), c("x", "s"))]
    r <- lab(wire(d), p)
    if (!expect(paste(name, "runs"), r$code == 0, r$text)) next
    u <- d[!is.na(d$y), ]; cor <- if (serial) corCAR1(0.3, form = ~ time | trial)
    f <- if (length(random)) lme(y ~ time + x + s, u, random = ~ 1 | trial, correlation = cor, method = method, control = lmeControl(msTol = 1e-14, tolerance = 1e-12, niterEM = 200, msMaxIter = 500, returnObject = TRUE))
         else gls(y ~ time + x + s, u, correlation = cor, method = method, control = glsControl(msTol = 1e-14, tolerance = 1e-12))
    b <- if (length(random)) fixef(f) else coef(f); se <- sqrt(diag(if (length(random)) f$varFix else f$varBeta))
    own <- r$json$estimates$std.error # of gls and lme by ML: with sigma^2 / (N - p) in some versions of nlme
    near <- function(x) max(abs(own / unname(x) - 1)) < 1e-4
    expect(paste(name, "se"), near(se) || (method == "ML" && near(se * sqrt((nrow(u) - 4) / nrow(u)))), paste(own / se - 1, collapse = " "))
    expect(paste(name, "criterion"), -2 * r$json$fit$logLik <= -2 * as.numeric(logLik(f)) + 1e-6, sprintf("%.9f above %.9f", -2 * r$json$fit$logLik, -2 * as.numeric(logLik(f))))
    check(paste(name, "likelihood"), r$json$fit$logLik, as.numeric(logLik(f)), 1e-6, 1, "baseline logLik")
    for (sites in c(1, 12)) {
      e <- d[order(match(d$trial, sample(unique(d$trial))), d$time), ]; e$site <- paste0("h", as.integer(factor(e$trial)) %% sites)
      a <- lab(wire(e), p); expect(paste(name, "same bits at", sites, "sites"), identical(a$json$estimates, r$json$estimates), a$text)
    }
  }
}
