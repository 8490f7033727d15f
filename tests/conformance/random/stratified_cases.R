# SPDX-License-Identifier: GPL-3.0-or-later
# Stratified analyses of events beside metafor, survival and glm.
source(file.path(here, "..", "stratified", "reference.R"))
events <- function(n, kind = "binary", rows = 1:6, effect = 0.7, level = -0.5, sites = 4) {
  do.call(rbind, lapply(seq_len(n), function(i) {
    a <- rnorm(1, level, 1); k <- c(sample(rows, 1), sample(rows, 1)); trt <- sample(rep(0:1, k)); w <- sample(1:14, sum(k), TRUE)
    eta <- a + effect * trt
    y <- if (kind == "binary") rbinom(sum(k), 1, plogis(eta)) else rpois(sum(k), w / 7 * exp(eta))
    data.frame(site = paste0("s", 1 + i %% sites), trial = sprintf("t%04d", i), cycle = 1, period = seq_along(trt), treatment = trt, y = y, exposure = w)
  }))
}
map_events <- function(kind) c("source: {driver: csv, path: none}", "columns: {trial: trial, cycle: cycle, period: period, treatment: treatment}",
                               sprintf("outcomes: {y: {column: y, kind: %s}}", kind), "covariates: [exposure]")
plan_events <- function(measure, method, extra = NULL) c("plan: 1", "outcome: y", 'treatment: {reference: "0", active: ["1"]}', "analysis: stratified",
                                                        paste("measure:", measure), paste("method:", method), extra)
compare_events <- function(tag, d, measure, method, kind = "binary", exposure = FALSE, any = FALSE, homogeneity = FALSE) {
  extra <- c(if (exposure) "exposure: exposure", if (any) "events: any", if (homogeneity) "homogeneity: true")
  r <- lab(d, plan_events(measure, method, extra), map_events(kind))
  if (r$code != 0) { failed <<- failed + 1L; cat("FAIL", tag, "exit", r$code, r$text, "\n"); return(invisible()) }
  x <- d; if (!exposure) x$exposure <- NULL
  w <- strat_reference(x, measure, method, any); o <- r$json$estimates; k <- paste("stratified", method, measure)
  if (is.na(w$estimate)) { expect(paste(tag, "no estimate"), is.na(o$estimate), "an estimate where R has none"); return(invisible()) }
  check(paste(tag, "estimate"), o$estimate, w$estimate, 1e-9, w$std.error, k); check(paste(tag, "se"), o$std.error, w$std.error, 1e-9, 0, k)
  check(paste(tag, "ci"), c(o$conf.low, o$conf.high), c(w$conf.low, w$conf.high), 1e-9, w$std.error, k); check(paste(tag, "p"), o$p.value, w$p.value, 1e-7, 1e-250)
  tests <- r$json$tables$cells[match("Tests", r$json$tables$title)][[1]]
  one <- function(name) if (is.null(tests)) NULL else tests[grepl(name, tests$test), ]
  if (!is.null(w$mh) && !is.na(w$mh)) check(paste(tag, "MH"), one("Mantel-Haenszel")$statistic, w$mh, 1e-8, 1e-6)
  if (homogeneity && !is.null(w$bd)) { check(paste(tag, "BD"), one("Breslow")$statistic, w$bd, 1e-8, 1e-6); check(paste(tag, "BD df"), one("Breslow")$df, w$bd.df, 0)
    check(paste(tag, "Tarone"), one("Tarone")$statistic, w$tarone, 1e-8, 1e-6) }
  if (homogeneity && !is.null(w$q)) { check(paste(tag, "Q"), one("Q ")$statistic, w$q, 1e-8, 1e-6); check(paste(tag, "Q df"), one("Q ")$df, w$q.df, 0) }
}
stratified_cases <- function(seed, only = NULL) {
  go <- function(name, f) if (is.null(only) || grepl(only, name)) { set.seed(seed * 7919 + sum(utf8ToInt(name)))
    tryCatch(f(name), error = function(e) { failed <<- failed + 1L; cat("FAIL", name, "script:", conditionMessage(e), "\n") }) }
  go("stratified binary", function(n) { d <- events(sample(8:60, 1), effect = runif(1, -2, 2))
    for (m in c("OR", "RR", "RD")) compare_events(paste(n, m), d, m, "mantel_haenszel", homogeneity = m == "OR")
    compare_events(paste(n, "peto"), d, "OR", "peto", homogeneity = TRUE); compare_events(paste(n, "clogit"), d, "OR", "conditional") })
  go("stratified many rows", function(n) { d <- events(12, rows = 30:80, effect = 3)
    for (m in c("mantel_haenszel", "peto", "conditional")) compare_events(paste(n, m), d, "OR", m) })
  go("stratified rare", function(n) { d <- events(40, level = -3.5, effect = 1.2)
    for (m in c("mantel_haenszel", "peto", "conditional")) compare_events(paste(n, m), d, "OR", m); compare_events(paste(n, "RR"), d, "RR", "mantel_haenszel") })
  go("stratified count", function(n) { d <- events(sample(8:40, 1), "count", effect = runif(1, -1, 1))
    for (e in c(TRUE, FALSE)) for (m in c("mantel_haenszel", "conditional")) compare_events(paste(n, m, e), d, "IRR", m, "count", exposure = e) })
  go("stratified equal rates", function(n) { d <- events(15, "count", rows = 3); compare_events(n, d, "IRR", "conditional", "count"); compare_events(n, d, "IRR", "mantel_haenszel", "count") })
  go("stratified any", function(n) { d <- events(40, "count", level = -1.5)
    for (m in c("OR", "RR", "RD")) compare_events(paste(n, m), d, m, "mantel_haenszel", "count", any = TRUE); compare_events(paste(n, "clogit"), d, "OR", "conditional", "count", any = TRUE) })
  go("stratified missing", function(n) { d <- events(30); d$y[runif(nrow(d)) < 0.25] <- NA; d$exposure[runif(nrow(d)) < 0.1] <- NA
    compare_events(n, d, "OR", "mantel_haenszel"); compare_events(n, d, "RD", "mantel_haenszel") })
  go("stratified no event", function(n) { d <- events(10); d$y <- 0
    r <- lab(d, plan_events("OR", "conditional"), map_events("binary")); expect(paste(n, "OR"), r$code == 0 && is.na(r$json$estimates$estimate), r$text)
    r <- lab(d, plan_events("RD", "mantel_haenszel"), map_events("binary")); expect(paste(n, "RD"), r$code == 0 && r$json$estimates$estimate == 0 && is.na(r$json$estimates$p.value), r$text) })
  go("stratified sites", function(n) { d <- events(24); e <- list()
    for (k in c(1, 3, 12)) { x <- d; x$site <- sprintf("s%02d", as.integer(factor(x$trial)) %% k); if (k == 12) x <- x[order(-as.integer(factor(x$trial)), x$period), ]
      e <- c(e, list(lab(x, plan_events("OR", "conditional"), map_events("binary"))$json$estimates)) }
    expect(paste(n, "same bits"), !is.null(e[[1]]) && identical(e[[1]], e[[2]]) && identical(e[[1]], e[[3]])) })
}
