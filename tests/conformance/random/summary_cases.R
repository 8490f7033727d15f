# SPDX-License-Identifier: GPL-3.0-or-later
# One difference a trial and goal attainment beside base R.
source(file.path(here, "..", "summary_test", "reference.R"))
map_summary <- function(outcomes = "y", covariates = character(0)) c("source: {driver: csv, path: none}",
  "columns: {trial: trial, cycle: cycle, period: period, treatment: treatment}",
  sprintf("outcomes: {%s}", paste(sprintf("%s: {column: %s, kind: continuous}", outcomes, outcomes), collapse = ", ")), sprintf("covariates: [%s]", paste(covariates, collapse = ", ")))
plan_summary <- function(extra, outcome = "y", analysis = "summary_test") c("plan: 1", paste("outcome:", outcome), 'treatment: {reference: "0", active: ["1"]}', paste("analysis:", analysis), extra)
compare_summary <- function(tag, d, extra, want, term = "treatment", floor = 0, map = map_summary(), outcome = "y", analysis = "summary_test", tol = 1e-10) {
  r <- lab(d, plan_summary(extra, outcome, analysis), map)
  if (r$code != 0) { failed <<- failed + 1L; cat("FAIL", tag, "exit", r$code, r$text, "\n"); return(invisible()) }
  o <- r$json$estimates[r$json$estimates$term == term, ]
  s <- if (is.null(want$std.error)) 1e-3 else max(want$std.error, floor)
  for (k in names(want)) check(paste(tag, k), o[[k]], want[[k]], if (k == "p.value") 1e-8 else tol, if (k == "p.value") 1e-250 else s, paste(analysis, if (k == "p.value") "p" else "all"))
  invisible(r)
}
summary_cases <- function(seed, only = NULL) {
  go <- function(name, f) if (is.null(only) || grepl(only, name)) { set.seed(seed * 7919 + sum(utf8ToInt(name)))
    tryCatch(f(name), error = function(e) { failed <<- failed + 1L; cat("FAIL", name, "script:", conditionMessage(e), "\n") }) }
  data <- function(...) { d <- series(...); d$treatment <- d$.trt; wire(d, "age", "sex", "ward") }
  go("summary difference", function(n) { d <- data(sample(5:40, 1), obs = 1:3, lost = 0.15); mu <- round(rnorm(1), 2)
    for (by in c("periods", "cycles")) { e <- differences(d, by); x <- c(paste("difference:", by), "level: 0.9", paste("null_value:", mu), "standardise: within")
      compare_summary(paste(n, by), d, x, t_rows(e$d, mu, 0.9)); s <- sqrt(e$ss / e$df / if (by == "cycles") 2 else 1); w <- t_rows(e$d, mu, 0.9)
      compare_summary(paste(n, by, "standardised"), d, x, list(estimate = w$estimate / s, std.error = w$std.error / s, conf.low = w$conf.low / s, conf.high = w$conf.high / s), "treatment / sd within") } })
  go("summary paired", function(n) { d <- data(20, lost = 0.2); compare_summary(n, d, "form: paired", t_rows(differences(d, "cycles")$all)) })
  go("summary responder", function(n) { d <- data(25, obs = 2); e <- differences(d)$d; m <- round(abs(median(e)), 2)
    for (b in c(1, -1)) compare_summary(paste(n, b), d, c("form: responder", paste("mcid:", m), paste("benefit:", if (b > 0) "higher" else "lower")), share_rows(b * e > m), "responders") })
  go("summary all respond", function(n) { d <- data(9); d$y <- d$y + 50 * d$treatment; compare_summary(n, d, c("form: responder", "mcid: 1", "benefit: higher"), share_rows(differences(d)$d > 1), "responders") })
  go("summary equal differences", function(n) { d <- data(6, obs = 1, lost = 0); d$y <- 0.1 * d$treatment + 3
    r <- lab(d, plan_summary(NULL), map_summary()); expect(n, r$code == 0 && abs(r$json$estimates$estimate - 0.1) < 1e-12 && is.na(r$json$estimates$p.value), r$text) })
  go("summary one trial", function(n) { d <- data(1, lost = 0); r <- lab(d, plan_summary(NULL), map_summary())
    expect(n, r$code == 0 && is.finite(r$json$estimates$estimate) && is.na(r$json$estimates$std.error) && length(r$json$warnings) > 0, r$text) })
  go("summary refusals", function(n) { d <- data(6)
    for (x in list("form: responder", c("form: responder", "mcid: 1"), c("form: responder", "mcid: 1", "benefit: higher", "standardise: within"), "form: median", "level: 2")) {
      r <- lab(d, plan_summary(x), map_summary()); expect(paste(n, x[1]), r$code %in% c(2, 66, 78), paste(r$code, r$text)) } })
  goals <- function(n) { d <- data(n, obs = 1:2, lost = 0.05); k <- nrow(d)
    w <- matrix(sample(1:5, 3 * n, TRUE), n)[match(d$trial, unique(d$trial)), ]; w[, 2] <- w[, 2] / 3
    x <- matrix(sample(-2:2, 3 * k, TRUE), k) ; x[d$treatment == 1, ] <- pmin(x[d$treatment == 1, ] + 1, 2)
    x[d$trial %in% unique(d$trial)[seq(1, n, 3)], 3] <- NA; x[sample(k, max(1, k %/% 15)), 2] <- NA
    colnames(x) <- c("g1", "g2", "g3"); colnames(w) <- c("w1", "w2", "w3"); d$y <- NULL
    list(d = cbind(d, x, w), x = x, w = w) }
  m <- map_summary(c("g1", "g2", "g3"), c("w1", "w2", "w3"))
  go("goal attainment", function(n) { g <- goals(sample(6:30, 1))
    for (rho in c(0.3, 0, 1)) { d <- g$d; d$y <- gas(d$trial, g$x, g$w, rho)
      compare_summary(paste(n, rho), g$d, c("goals: [g1, g2, g3]", "weights: [w1, w2, w3]", paste("rho:", rho)), t_rows(differences(d)$d), map = m, outcome = "g1", analysis = "goal_attainment", tol = 1e-12) }
    d <- g$d; d$y <- gas(d$trial, g$x[, 1:2], cbind(rep(2, nrow(d)), 0.5))
    compare_summary(paste(n, "numbers"), g$d, c("goals: [g1, g2]", "weights: [2, 0.5]"), t_rows(differences(d)$d), map = m, outcome = "g2", analysis = "goal_attainment", tol = 1e-12) })
  go("goal mcid", function(n) { d <- data(20); d$mcid <- round(runif(20, 0.5, 2), 2)[match(d$trial, unique(d$trial))]
    e <- differences(d); u <- e$d / d$mcid[match(e$trial, d$trial)]; mm <- map_summary("y", "mcid")
    compare_summary(n, d, c("form: mcid", "mcid: mcid"), t_rows(u), "treatment / MCID", map = mm, analysis = "goal_attainment", tol = 1e-12)
    compare_summary(paste(n, "responder"), d, c("form: responder", "mcid: mcid", "benefit: lower"), share_rows(-u > 1), "responders", map = mm, analysis = "goal_attainment") })
  go("goal refusals", function(n) { g <- goals(6)
    for (x in list("goals: [g1, g9]", "goals: [g2, g3]", c("goals: [g1, g2]", "weights: [w1]"), c("goals: [g1]", "weights: [z]"), "form: mcid", c("form: mcid", "mcid: none"), c("goals: [g1, g1]"), "rho: 2")) {
      r <- lab(g$d, plan_summary(x, "g1", "goal_attainment"), m); expect(paste(n, x[1]), r$code %in% c(2, 66, 78), paste(r$code, r$text)) } })
  go("summary sites", function(n) { d <- data(24); e <- list()
    for (k in c(1, 3, 12)) { x <- d; x$site <- sprintf("s%02d", as.integer(factor(x$trial)) %% k); if (k == 12) x <- x[order(-as.integer(factor(x$trial)), x$period), ]
      e <- c(e, list(lab(x, plan_summary("standardise: within"), map_summary())$json$estimates)) }
    expect(paste(n, "same bits"), !is.null(e[[1]]) && identical(e[[1]], e[[2]]) && identical(e[[1]], e[[3]])) })
}
