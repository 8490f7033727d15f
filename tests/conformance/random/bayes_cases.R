# SPDX-License-Identifier: GPL-3.0-or-later
# Bayesian two-stage plans on random and awkward consortia, beside the rules of bayes/reference.R.
bayes_cases <- function(seed, only = NULL) {
  ref <- new.env(); sys.source(file.path(here, "..", "bayes", "reference.R"), ref)
  go <- function(name, f) if (is.null(only) || grepl(only, name)) { set.seed(seed * 7919 + sum(utf8ToInt(name)));
    tryCatch(f(name), error = function(e) { failed <<- failed + 1L; cat("FAIL", name, "script:", conditionMessage(e), "\n") }) }
  words <- function(p) if (p[[1]] == "jeffreys") "jeffreys" else sprintf("{%s: %s}", p[[1]], if (length(p[[2]]) > 1) paste0("[", paste(p[[2]], collapse = ", "), "]") else p[[2]])
  one <- function(name, d, form, mu, tau, sigma = list("jeffreys", 1), tol = 1) {
    r <- lab(wire(d), c("plan: 1", "outcome: y", 'treatment: {reference: "0", active: ["1"]}', "analysis: bayes", paste("incomplete:", form),
      sprintf("priors: {mu: {normal: [%g, %g]}, tau: %s, sigma: %s}", mu[1], mu[2], words(tau), words(sigma))), map_of(c("age", "sex", "ward")))
    if (r$code != 0) { failed <<- failed + 1L; cat("FAIL", name, "exit", r$code, r$text, "\n"); return(invisible()) }
    e <- effects_of(d, form); s <- ref$summaries(ref$two_stage(e$yi, e$u, sum(e$ss), sum(e$df), mu, tau, sigma, n = if (nrow(e) > 100) 30 else 12))
    row <- function(q) { t <- r$json$tables$cells[[1]]; unlist(t[t$quantity == q, c("mean", "sd", "median", "low", "high")]) }
    check(paste(name, "mu"), row("mu"), s$mu, 1e-8 * tol, s$mu[2], "bayes mu")
    check(paste(name, "tau"), row("tau")[-2], s$tau[-2], 1e-8 * tol, s$tau[2], "bayes tau")
    check(paste(name, "sigma"), row("sigma")[1], s$sigma[1], 1e-8 * tol, s$sigma[1], "bayes sigma")
    check(paste(name, "evidence"), r$json$fit$log.marginal.likelihood, s$evidence, 1e-8 * tol, 1, "bayes evidence")
    check(paste(name, "above"), r$json$tables$cells[[2]]$above.zero, c(s$above[1], s$above_next[1]), 1e-8 * tol, 1, "bayes chance") }
  hn <- list("half_normal", 2); hc <- list("half_cauchy", 2); ht <- list("half_t", c(4, 2)); un <- list("uniform", 8)
  go("bayes: priors", function(n) { d <- series(20); for (p in list(hn, hc, ht, un)) for (f in c("pool", "cycles")) one(paste(n, p[[1]], f), d, f, c(0, 5), p) })
  go("bayes: sigma", function(n) { d <- series(15); for (p in list(list("half_normal", 3), list("half_cauchy", 1))) one(paste(n, p[[1]]), d, "pool", c(1, 3), hn, p) })
  go("bayes: tau zero", function(n) one(n, series(20, tau = 0, sd = 3), "pool", c(0, 5), hn))
  go("bayes: few", function(n) for (k in 1:3) one(paste(n, k), series(k, lost = 0, sites = 1), "pool", c(0, 5), hn))
  go("bayes: many", function(n) one(n, series(200), "pool", c(0, 5), hn))
  go("bayes: long", function(n) one(n, series(10, cycles = 20, obs = 1), "pool", c(0, 5), hc))
  go("bayes: offset", function(n) { d <- series(20); d$y <- d$y + 1e6; one(n, d, "pool", c(0, 5), hn, tol = 100) })
  # model: one_stage, beside one_stage() of bayes/reference.R: complete trials, class form
  full <- function(name, d, mu, tau, sigma, level, intercept, eta = 1, tol = 1) {
    r <- lab(wire(d), c("plan: 1", "outcome: y", 'treatment: {reference: "0", active: ["1"]}', "analysis: bayes", "model: one_stage",
      sprintf("priors: {mu: {normal: [%.17g, %.17g]}, tau: %s, sigma: %s, intercept: {normal: [%.17g, %.17g]}, intercept_sd: %s, correlation: {lkj: %g}}",
              mu[1], mu[2], words(tau), words(sigma), intercept[1], intercept[2], words(level), eta)), map_of(c("age", "sex", "ward")))
    if (r$code != 0) { failed <<- failed + 1L; cat("FAIL", name, "exit", r$code, r$text, "\n"); return(invisible()) }
    x <- data.frame(trial = d$trial, treatment = d$.trt, y = d$y)
    s <- ref$summaries(q <- ref$one_stage(x, mu, tau, sigma, intercept, level, eta, n = 12))
    row <- function(q) { t <- r$json$tables$cells[[1]]; unlist(t[t$quantity == q, c("mean", "sd", "median", "low", "high")]) }
    check(paste(name, "mu"), row("mu"), s$mu, 1e-6 * tol, s$mu[2], "bayes one_stage mu")
    check(paste(name, "tau"), row("tau")[1:2], s$tau[1:2], 1e-6 * tol, s$tau[2], "bayes one_stage tau")
    check(paste(name, "sigma"), row("sigma")[1:2], s$sigma, 1e-6 * tol, s$sigma[2], "bayes one_stage sigma")
    l <- ref$moments(q$p, q$level); check(paste(name, "intercept_sd"), row("intercept_sd")[1:2], l, 1e-6 * tol, l[2], "bayes one_stage intercept_sd")
    k <- ref$moments(q$p, q$r); check(paste(name, "correlation"), row("correlation")[1:2], k, 1e-6 * tol, k[2], "bayes one_stage correlation")
    check(paste(name, "evidence"), r$json$fit$log.marginal.likelihood, s$evidence, 1e-6 * tol, 1, "bayes one_stage evidence")
    check(paste(name, "above"), r$json$tables$cells[[2]]$above.zero, c(s$above[1], s$above_next[1]), 1e-6 * tol, 1, "bayes one_stage chance") }
  go("bayes: one_stage", function(n) for (p in list(hn, un)) full(paste(n, p[[1]]), series(sample(8:20, 1), lost = 0, obs = 1), c(0, 5), p, list("half_normal", 3), list("half_normal", 5), c(5, 10)))
  go("bayes: one_stage jeffreys", function(n) full(n, series(12, lost = 0, obs = 1, cycles = 3), c(0, 5), hn, list("jeffreys", 1), list("half_normal", 5), c(5, 10), eta = 2))
}
