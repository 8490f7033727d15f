# SPDX-License-Identifier: GPL-3.0-or-later
# Randomisation tests and monitoring through the lab, beside enumeration and formulas in base R.
cycle_differences <- function(d) {
  d <- d[!is.na(d$y), ]; p <- aggregate(y ~ trial + cycle + period + .trt, d, mean)
  x <- lapply(split(p, list(p$trial, p$cycle), drop = TRUE), function(x) if (length(unique(x$.trt)) == 2) mean(x$y[x$.trt == 1]) - mean(x$y[x$.trt == 0]))
  unlist(x)
}
plan_sequential <- function(analysis, extra = NULL) c("plan: 1", "outcome: y", 'treatment: {reference: "0", active: ["1"]}', paste("analysis:", analysis), extra)
sequential_cases <- function(seed, only = NULL) {
  go <- function(name, f) if (is.null(only) || grepl(only, name)) { set.seed(seed * 7919 + sum(utf8ToInt(name)))
    tryCatch(f(name), error = function(e) { failed <<- failed + 1L; cat("FAIL", name, "script:", conditionMessage(e), "\n") }) }
  ask <- function(name, d, plan, f, map = map_of(c("age", "sex", "ward")), policy = "open") { r <- lab(wire(d), plan, map, policy = policy)
    if (r$code != 0) { failed <<- failed + 1L; cat("FAIL", name, "exit", r$code, r$text, "\n") } else f(r$json) }
  exact_p <- function(x) { s <- 0; for (a in x) s <- c(s + a, s - a); mean(abs(s) >= abs(sum(x)) - 1e-9 * sqrt(sum(x^2))) }
  moments <- function(name, d) ask(name, d, plan_sequential("randomisation_test", "step: 0"), function(j) { x <- cycle_differences(d); V <- sum(x^2)
    check(paste(name, "n"), j$randomisation$differences, length(x), 0); check(paste(name, "estimate"), j$estimates$estimate, mean(x), 1e-10, sd(x), "randomisation estimate")
    check(paste(name, "z"), j$estimates$statistic, sum(x) / sqrt(V), 1e-10, 1e-3, "randomisation z")
    if (length(x) <= 18) expect(paste(name, "p"), abs(j$estimates$p.value - exact_p(x)) <= max(2.5 * j$randomisation$p.error, 0.002), paste(j$estimates$p.value, exact_p(x), j$randomisation$p.error)) })
  go("randomisation few", function(n) for (i in 1:4) moments(n, series(sample(5:9, 1), cycles = 2, tau = 0.5)))
  go("randomisation in other units", function(n) { d <- series(30, cycles = 3); x <- cycle_differences(d); ref <- NULL; o <- d
    for (u in c(1, 1e-9, 1e-12, 1e4, 1e9, 1e12)) { d$y <- o$y * u; ask(paste(n, u), d, plan_sequential("randomisation_test", "step: 0"), function(j) { got <- c(j$estimates$p.value, j$randomisation$p.error)
      if (is.null(ref)) ref <<- got else check(paste(n, u), got, ref, 1e-2, 1e-9); check(paste(n, u, "z"), j$estimates$statistic, sum(x) / sqrt(sum(x^2)), 1e-8, 1e-3, "randomisation z") }) }
    d$y <- o$y; d$y[1] <- 1e12; ask(paste(n, "one wild value"), d, plan_sequential("randomisation_test", "step: 0"), function(j) expect(n, j$estimates$p.value > 0.4)) })
  go("feasibility of nothing", function(n) { d <- series(6); d$y <- NA_real_; r <- lab(wire(d), plan_sequential("feasibility"), map_of())
    expect(n, r$code == 66 && grepl("both treatments", r$text), paste(r$code, r$text)) })
  go("randomisation many", function(n) moments(n, series(60, cycles = 4)))
  go("randomisation standard", function(n) { d <- series(60, obs = 2, lost = 0.05, sites = 6); ask(n, d, plan_sequential("randomisation_test"), function(j) expect(n, j$privacy$scalars == 3), policy = "standard") })
  go("randomisation monte carlo", function(n) { d <- series(8, cycles = 2, tau = 0.5); d$y <- d$y - 0.7 * d$.trt; p <- exact_p(cycle_differences(d))
    ask(n, d, plan_sequential("randomisation_test", c("method: monte_carlo", "draws: 2000")), function(j) expect(n, abs(j$estimates$p.value - p) < 4.5 * sqrt(p * (1 - p) / 2000) + 1 / 2000, paste(j$estimates$p.value, p))) })
  go("randomisation phases", function(n) { d <- series(14); d <- d[order(d$trial, d$period), ]; z <- sapply(split(d, d$trial), function(x) { p <- aggregate(y ~ period + .trt, x, mean); k <- sum(p$.trt); m <- nrow(p); if (k == 0 || k == m) return(NA)
      (mean(p$y[p$.trt == 1]) - mean(p$y[p$.trt == 0])) / sqrt(var(p$y) * m / k / (m - k)) })
    ask(n, d, plan_sequential("randomisation_test", "design: phases"), function(j) check(n, j$estimates$statistic, sum(z, na.rm = TRUE) / sqrt(sum(!is.na(z))), 1e-9, 1e-2, "randomisation phases")) })
  go("monitor anytime", function(n) for (rho in c(0.5, 20)) { d <- series(sample(10:40, 1)); x <- cycle_differences(d); V <- sum(x^2)
    logE <- function(q) { s <- sum(x - q); v <- sum((x - q)^2); 0.5 * log(rho / (v + rho)) + s^2 / (2 * (v + rho)) }
    ask(n, d, plan_sequential("monitor", paste("rho:", rho)), function(j) { check(paste(n, "log E"), j$monitoring$log.e.value, logE(0), 1e-9, 1e-2, "monitor log E")
      f <- function(q) logE(q) + log(0.05); to <- 3 * diff(range(d$y)); ends <- c(uniroot(f, c(mean(x) - 30 * sd(x) / sqrt(length(x)), mean(x)), tol = 1e-14)$root, uniroot(f, c(mean(x), mean(x) + 30 * sd(x) / sqrt(length(x))), tol = 1e-14)$root)
      check(paste(n, "interval"), c(j$estimates$conf.low, j$estimates$conf.high), ends, 1e-9, sd(x), "monitor interval") }) })
  go("monitor first look", function(n) { d <- series(20); x <- cycle_differences(d); t <- min(1, length(x) / 80)
    for (b in c("obrien_fleming", "pocock")) { a <- if (b == "pocock") 0.05 * log(1 + (exp(1) - 1) * t) else 4 * pnorm(-qnorm(1 - 0.05 / 4) / sqrt(t))
      ask(n, d, plan_sequential("monitor", c("method: spending", "planned: 80", paste("boundary:", b))), function(j) check(paste(n, b), j$monitoring$boundary.z, qnorm(a / 2, lower.tail = FALSE), 1e-9, 0, "monitor boundary")) } })
  go("monitor offset 1e8", function(n) { d <- series(20); x <- cycle_differences(d); d$y <- d$y + 1e8; ask(n, d, plan_sequential("monitor", "rho: 5"), function(j) check(n, j$estimates$estimate, mean(x), 1e-7, sd(x))) })
}
