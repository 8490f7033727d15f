# SPDX-License-Identifier: GPL-3.0-or-later
# Two-stage analyses and descriptives on awkward consortia, beside metafor and base R.
plan_effects <- function(method = "REML", test = "knha", incomplete = "auto", within = "pooled", extra = NULL, reference = "0", active = "1")
  c("plan: 1", "outcome: y", if (!is.null(reference)) sprintf('treatment: {reference: "%s", active: ["%s"]}', reference, active),
    "analysis: random_effects", paste("within_variance:", within), paste("method:", method), paste("test:", test),
    paste("incomplete:", incomplete), extra)
methods <- c("FE", "DL", "HE", "HS", "SJ", "ML", "REML", "EB", "PM")
# effects and variances of the trials, as the form says
effects_of <- function(d, form, own = FALSE, mods = NULL) {
  d <- d[!is.na(d$y), ]
  pm <- aggregate(y ~ trial + cycle + period + .trt, d, mean)
  e <- do.call(rbind, lapply(split(pm, pm$trial), function(x) {
    if (form == "cycles") {
      c <- sapply(split(x, x$cycle), function(z) mean(z$y[z$.trt == 1]) - mean(z$y[z$.trt == 0])); c <- c[is.finite(c)]
      if (!length(c)) return(NULL)
      data.frame(trial = x$trial[1], yi = mean(c), u = 1 / length(c), ss = sum((c - mean(c))^2), df = length(c) - 1)
    } else {
      A <- x$y[x$.trt == 0]; B <- x$y[x$.trt == 1]; if (!length(A) || !length(B)) return(NULL)
      data.frame(trial = x$trial[1], yi = mean(B) - mean(A), u = 1 / length(A) + 1 / length(B),
                 ss = sum((A - mean(A))^2) + sum((B - mean(B))^2), df = length(A) + length(B) - 2)
    } }))
  if (own) { e <- e[e$df > 0 & e$ss > 0, ]; e$vi <- e$ss / e$df * e$u } else e$vi <- sum(e$ss) / sum(e$df) * e$u
  for (m in mods) e[[m]] <- d[[m]][match(e$trial, d$trial)]
  e
}
compare_rma <- function(tag, r, e, method, test, mods = NULL, tol = 1, level = 0.95, shift = 0) {
  if (r$code != 0) { failed <<- failed + 1L; cat("FAIL", tag, "exit", r$code, r$text, "\n"); return(invisible()) }
  j <- r$json; s <- sd(e$yi); if (!is.finite(s) || s == 0) s <- sqrt(mean(e$vi)); e$z <- (e$yi - shift) / s
  fit <- function(...) tryCatch(quiet(rma(yi = e$z, vi = e$vi / s^2, method = method, test = test, level = level * 100, ...)), error = function(x) x)
  control <- list(threshold = 1e-13, maxiter = 100000, tol = 1e-13, tau2.max = 1e5)
  x <- if (is.null(mods)) NULL else model.matrix(mods, e)[, -1, drop = FALSE]
  f <- if (is.null(x)) fit(control = control) else fit(mods = x, control = control)
  if (inherits(f, "error") && method %in% c("ML", "REML", "EB")) { control$stepadj <- 0.5; f <- if (is.null(x)) fit(control = control) else fit(mods = x, control = control) }
  if (inherits(f, "error")) { cat("NOTE", tag, "rma:", conditionMessage(f), "\n"); return(invisible()) }
  if (method %in% c("ML", "REML")) { # polish: Newton on the profile likelihood
    X <- f$X; v <- f$vi; y <- f$yi
    sc <- function(t) { w <- 1 / (v + t); C <- crossprod(X * sqrt(w)); b <- solve(C, crossprod(X, w * y)); e2 <- (y - X %*% b)^2
      sum(w) - sum(w^2 * e2) - if (method == "REML") sum(diag(solve(C, crossprod(X * w)))) else 0 }
    if (f$tau2 > 1e-10) { h <- f$tau2 * 1e-2; root <- tryCatch(uniroot(sc, c(f$tau2 - h, f$tau2 + h), tol = 1e-15)$root, error = function(x) NULL)
      if (!is.null(root)) f <- if (is.null(x)) quiet(rma(yi = e$z, vi = e$vi / s^2, tau2 = root, method = method, test = test, level = level * 100)) else quiet(rma(yi = e$z, vi = e$vi / s^2, mods = x, tau2 = root, method = method, test = test, level = level * 100)) } }
  o <- j$estimates; h <- j$heterogeneity; k <- paste("rma", if (method %in% c("ML", "REML", "EB", "PM")) "iterative" else "closed")
  b <- as.numeric(f$b) * s; b[1] <- b[1] + shift
  check(paste(tag, "k"), j$fit$trials, nrow(e), 0)
  check(paste(tag, "tau2"), h$tau.squared, f$tau2 * s^2, 1e-8 * tol, mean(e$vi) * 1e-2, paste(k, "tau2"))
  check(paste(tag, "beta"), o$estimate, b, 1e-8 * tol, f$se * s, paste(k, "beta"))
  if (nrow(e) >= ncol(f$X)) { check(paste(tag, "se"), o$std.error, f$se * s, 1e-8 * tol, 0, paste(k, "se"))
    if (!(method == "FE" && FALSE)) check(paste(tag, "ci"), c(o$conf.low, o$conf.high), c(f$ci.lb, f$ci.ub) * s + if (is.null(x)) shift else 0 * s, 1e-8 * tol, max(f$se * s), paste(k, "ci"))
    if (shift == 0) check(paste(tag, "p"), o$p.value, f$pval, 1e-6 * tol, 1e-280) }
  if (f$k > f$p) { check(paste(tag, "Q"), h$cochran.qe, f$QE, 1e-9 * tol, 1e-6, "rma Q"); check(paste(tag, "Qp"), h$p.value, f$QEp, 1e-8 * tol, 1e-280) }
  if (method != "FE" && f$k > f$p) {
    check(paste(tag, "I2"), h$i.squared, f$I2, 1e-7 * tol, 1, "rma I2"); check(paste(tag, "H2"), h$h.squared, f$H2, 1e-8 * tol, 1, "rma H2")
    if (!is.null(h$std.error) && is.null(x) && f$tau2 > 0 && !isTRUE(f$tau2.fix)) check(paste(tag, "se tau2"), h$std.error, f$se.tau2 * s^2, 1e-6 * tol, 0, "rma se tau2")
    ci <- tryCatch(quiet(confint(f, type = "QP", fixed = FALSE, control = list(tol = 1e-12, maxiter = 100000, tau2.max = 1e4))), error = function(x) NULL)
    if (!isTRUE(f$tau2.fix)) { } else { g <- if (is.null(x)) fit(control = control) else fit(mods = x, control = control); ci <- tryCatch(quiet(confint(g, type = "QP", control = list(tol = 1e-12, maxiter = 100000, tau2.max = 1e4))), error = function(x) NULL) }
    if (!is.null(ci)) check(paste(tag, "tau2 ci"), c(h$conf.low, h$conf.high), ci$random[1, 2:3] * s^2, 1e-6 * tol, mean(e$vi) * 1e-2, "rma tau2 ci")
    if (is.null(x)) { pr <- predict(f, level = level * 100); p <- h$prediction$metafor
      lo <- if (is.null(pr$pi.lb)) pr$cr.lb else pr$pi.lb; up <- if (is.null(pr$pi.ub)) pr$cr.ub else pr$pi.ub
      check(paste(tag, "prediction"), c(p$low, p$high), c(lo, up) * s + shift, 1e-7 * tol, max(f$se * s), "rma prediction") } }
  if (!is.null(x)) check(paste(tag, "QM"), j$moderators$statistic, f$QM, 1e-7 * tol, 1e-3, "rma QM")
  if (!is.null(x) && !is.null(j$moderators$r.squared)) {
    null <- fit(control = control) # metafor's R2 compares with the same estimator without moderators
    check(paste(tag, "R2"), j$moderators$r.squared, 100 * max(0, 1 - f$tau2 / null$tau2), 1e-5 * tol, 1, "rma R2") }
  if (identical(j$tables$by, "ward") && ncol(x) == nrow(j$tables$cells[[1]]) - 1) {
    at <- predict(f, newmods = rbind(0, diag(ncol(x)))); l <- j$tables$cells[[1]]
    check(paste(tag, "levels"), l$estimate, at$pred * s, 1e-8 * tol, max(at$se) * s, "rma levels")
    check(paste(tag, "levels se"), l$std.error, at$se * s, 1e-7 * tol, 0, "rma levels se") }
  invisible(f)
}
series_cases <- function(seed, only = NULL) {
  go <- function(name, f) if (is.null(only) || grepl(only, name)) { set.seed(seed * 7919 + sum(utf8ToInt(name)));
    tryCatch(f(name), error = function(e) { failed <<- failed + 1L; cat("FAIL", name, "script:", conditionMessage(e), "\n") }) }
  cov <- c("age", "sex", "ward")
  all_methods <- function(name, d, form, own, w = wire(d), map = map_of(cov), tol = 1, tests = c("z", "knha"), ms = methods, incomplete = form, data = d, extra = NULL, level = 0.95) {
    e <- effects_of(data, form, own)
    for (m in ms) for (t in tests) compare_rma(paste(name, m, t), lab(w, plan_effects(m, t, incomplete, if (own) "own" else "pooled", extra), map), e, m, t, tol = tol, level = level)
  }
  go("series: pool", function(n) all_methods(n, series(20), "pool", FALSE))
  go("series: cycles", function(n) all_methods(n, series(20, lost = 0.15), "cycles", FALSE))
  go("series: auto complete", function(n) { d <- series(20, lost = 0); all_methods(n, d, "cycles", FALSE, incomplete = "auto", ms = c("DL", "REML")) })
  go("series: auto incomplete", function(n) { d <- series(20, lost = 0.1); all_methods(n, d, "pool", FALSE, incomplete = "auto", ms = c("DL", "REML")) })
  go("series: exclude", function(n) { d <- series(24, lost = 0.04); keep <- sapply(split(d, d$trial), function(x) all(tapply(x$.trt, x$cycle, function(z) length(unique(z)) == 2))); all_methods(n, d, "cycles", FALSE, incomplete = "exclude", data = d[keep[d$trial], ], ms = c("REML", "DL")) })
  go("series: own pool", function(n) all_methods(n, series(20, cycles = 4), "pool", TRUE, incomplete = "pool"))
  go("series: own cycles", function(n) all_methods(n, series(20, cycles = 4), "cycles", TRUE, incomplete = "cycles", ms = c("FE", "HE", "REML", "PM")))
  go("series: tau zero", function(n) all_methods(n, series(20, tau = 0, sd = 3), "pool", FALSE, tests = "knha"))
  go("series: score", function(n) { d <- series(25); e <- effects_of(d, "pool") # exact in the estimate where it says so
    for (m in methods) { r <- lab(wire(d), plan_effects(m, "knha", "score"), map_of(cov)); f <- quiet(rma(e$yi, e$vi, method = m, test = "knha", control = list(threshold = 1e-12, maxiter = 1e5, tol = 1e-13)))
      if (isTRUE(r$json$fit$exact)) check(paste(n, m), c(r$json$estimates$estimate, r$json$heterogeneity$tau.squared), c(f$b, f$tau2), 1e-7, 1e-2, "rma by rounds")
      else check(paste(n, m, "bound"), r$json$estimates$estimate, as.numeric(f$b), r$json$fit$approximation_se, f$se) } })
  go("series: two trials", function(n) all_methods(n, series(2, lost = 0, sites = 2), "pool", FALSE, ms = c("FE", "DL", "REML", "PM")))
  go("series: three trials", function(n) all_methods(n, series(3, sites = 3), "pool", FALSE, ms = c("FE", "DL", "HE", "SJ", "ML", "REML", "PM")))
  go("series: one trial", function(n) all_methods(n, series(1, lost = 0, sites = 1), "pool", FALSE, ms = c("FE")))
  go("series: missing outcomes", function(n) { d <- series(20); d$y[runif(nrow(d)) < 0.2] <- NA; all_methods(n, d, "pool", FALSE, ms = c("DL", "REML")) })
  go("series: one-arm trials", function(n) { d <- series(18); d <- d[!(d$trial == "t0003" & d$treatment == "1"), ]; all_methods(n, d, "pool", FALSE, ms = "REML"); all_methods(n, d, "cycles", FALSE, ms = "REML") })
  go("series: third arm", function(n) { d <- series(20, arms = c("a", "b", "c")); for (p in list(c("a", "c"), c("c", "a"), c("b", "c"))) { x <- d[d$treatment %in% p, ]; x$.trt <- as.numeric(x$treatment == p[2])
    compare_rma(paste(n, p[1], p[2]), lab(wire(d), plan_effects("REML", "knha", "pool", reference = p[1], active = p[2]), map_of()), effects_of(x, "pool"), "REML", "knha") } })
  go("series: three arms", function(n) { d <- series(18, arms = c("0", "1", "2")); all_methods(n, d, "pool", FALSE, ms = c("DL", "REML"), data = d[d$treatment != "2", ]) })
  go("series: offset 1e8", function(n) { d <- series(20); w <- wire(d); w$y <- d$y + 1e8; d$y <- w$y - 1e8; all_methods(n, d, "pool", FALSE, w = w, ms = c("REML", "DL")); all_methods(n, d, "cycles", FALSE, w = w, ms = c("REML", "DL")) })
  go("series: scale 1e6", function(n) { d <- series(20); d$y <- d$y * 1e6; all_methods(n, d, "pool", FALSE, ms = c("REML", "PM", "SJ")) })
  go("series: scale 1e-6", function(n) { d <- series(20); d$y <- d$y * 1e-6; all_methods(n, d, "pool", FALSE, ms = c("REML", "PM", "SJ")); all_methods(n, d, "pool", TRUE, ms = c("REML", "PM")) })
  go("series: no cycle column", function(n) { d <- series(15); all_methods(n, d, "pool", FALSE, w = wire(d, "cycle"), map = map_of(cov, c("trial", "period", "time", "treatment")), ms = "REML") })
  go("series: no schedule", function(n) { d <- series(15, obs = 1); d2 <- d; all_methods(n, d2, "pool", FALSE, w = wire(d, "cycle", "period", "time"), map = map_of(cov, c("trial", "treatment")), ms = "REML") })
  go("series: level 0.9", function(n) all_methods(n, series(15), "pool", FALSE, ms = "REML", extra = "level: 0.9", level = 0.9))
  go("series: strata", function(n) { d <- series(24); d$stratum <- sample(c("x1", "x2", "x3"), 24, TRUE)[as.integer(factor(d$trial))]; all_methods(n, d, "pool", FALSE, map = map_of(c("age", "stratum")), extra = "strata: [x1, x3]", data = d[d$stratum != "x2", ], ms = c("REML", "DL")) })
  go("series: sites", function(n) { d <- series(50, obs = 1); d$site <- paste0("c-", as.integer(factor(d$trial)) %% 43, ".z"); all_methods(n, d, "pool", FALSE, ms = "REML") })
  go("series: long trials", function(n) all_methods(n, series(12, cycles = 30, obs = 1), "pool", FALSE, ms = c("REML", "HE")))
  go("series: moderators", function(n) { d <- series(30); for (own in c(FALSE, TRUE)) for (m in methods) for (t in c("z", "knha")) {
    e <- effects_of(d, "pool", own, cov); r <- function(x) lab(wire(d), plan_effects(m, t, "pool", if (own) "own" else "pooled", x), map_of(cov))
    if (m == "FE" || t == "z" || m == "REML") compare_rma(paste(n, own, m, t, "age"), r("moderators: [age]"), e, m, t, ~ age)
    compare_rma(paste(n, own, m, t, "ward"), r("moderators: [ward]"), e, m, t, ~ ward)
    if (t == "knha") compare_rma(paste(n, own, m, t, "age ward"), r("moderators: [age, ward]"), e, m, t, ~ age + ward) } })
  go("series: moderator missing", function(n) { d <- series(30); d$age[d$trial %in% c("t0002", "t0005")] <- NA; e <- effects_of(d, "pool", FALSE, cov)
    e <- e[!is.na(e$age), ]; e0 <- effects_of(d[!is.na(d$age), ], "pool", FALSE, cov); compare_rma(n, lab(wire(d), plan_effects("REML", "knha", "pool", extra = "moderators: [age]"), map_of(cov)), e0, "REML", "knha", ~ age) })
  # imported effects
  table_map <- function(covariates = NULL) c("columns: {trial: trial}", "outcomes: {y: {effect: yi, variance: vi}}", if (length(covariates)) paste0("covariates: [", paste(covariates, collapse = ", "), "]"))
  imported <- function(name, e, ms = methods, tests = c("z", "knha"), tol = 1, shift = 0) {
    e$site <- paste0("s", seq_len(nrow(e)) %% max(1, min(3, nrow(e))))
    for (m in ms) for (t in tests) compare_rma(paste(name, m, t), lab(e, plan_effects(m, t, "auto", "own", reference = NULL), table_map()), e, m, t, tol = tol, shift = shift) }
  go("effects: bcg", function(n) { x <- quiet(escalc("RR", ai = tpos, bi = tneg, ci = cpos, di = cneg, data = dat.bcg)); imported(n, data.frame(trial = paste0("t", 1:13), yi = as.numeric(x$yi), vi = x$vi)) 
    e <- data.frame(trial = paste0("t", 1:13), yi = as.numeric(x$yi), vi = x$vi, ablat = x$ablat, alloc = x$alloc); e$site <- paste0("s", 1:13 %% 3)
    for (m in methods) for (t in c("z", "knha")) compare_rma(paste(n, m, t, "ablat"), lab(e, plan_effects(m, t, "auto", "own", "moderators: [ablat]", NULL), table_map(c("ablat", "alloc"))), e, m, t, ~ ablat)
    for (m in c("REML", "DL")) compare_rma(paste(n, m, "alloc"), lab(e, plan_effects(m, "knha", "auto", "own", "moderators: [alloc]", NULL), table_map(c("ablat", "alloc"))), e, m, "knha", ~ alloc) })
  go("effects: spread variances", function(n) { vi <- 10^runif(20, -4, 4); imported(n, data.frame(trial = paste0("t", 1:20), yi = rnorm(20, 1, sqrt(vi + 1)), vi = vi), tol = 10) })
  go("effects: very spread variances", function(n) { vi <- 10^runif(20, -10, 10); imported(n, data.frame(trial = paste0("t", 1:20), yi = rnorm(20, 1, 1), vi = vi), tests = "knha", tol = 100) })
  go("effects: tau zero", function(n) { vi <- runif(12, 1, 4); imported(n, data.frame(trial = paste0("t", 1:12), yi = rnorm(12, 1, 0.3), vi = vi), tests = "knha") })
  go("effects: two", function(n) imported(n, data.frame(trial = c("a", "b"), yi = c(0.1, 0.9), vi = c(0.02, 0.05)), ms = setdiff(methods, "SJ")))
  go("effects: three", function(n) imported(n, data.frame(trial = c("a", "b", "c"), yi = c(0.1, 0.9, -0.3), vi = c(0.02, 0.05, 0.04))))
  go("effects: one", function(n) imported(n, data.frame(trial = "a", yi = 0.4, vi = 0.02), ms = "FE"))
  go("effects: offset", function(n) { vi <- runif(12, 1, 4); imported(n, data.frame(trial = paste0("t", 1:12), yi = rnorm(12, 1e6, 2), vi = vi), shift = 1e6, ms = c("DL", "REML")) })
  go("effects: equal", function(n) { r <- lab(data.frame(trial = letters[1:5], yi = 0.4, vi = 1:5 / 10, site = "s"), plan_effects("REML", "z", "auto", "own", reference = NULL), table_map()); expect(n, r$code == 0 && r$json$heterogeneity$tau.squared == 0 && abs(r$json$estimates$estimate - 0.4) < 1e-12, paste(r$code, r$text)) })
  # descriptives
  describe <- function(name, d, w = wire(d), map = map_of(cov), data = d, extra = NULL, shift = 0) {
    r <- lab(w, c("plan: 1", "outcome: y", 'treatment: {reference: "0", active: ["1"]}', "analysis: descriptive", extra), map)
    if (r$code != 0) { failed <<- failed + 1L; cat("FAIL", name, "exit", r$code, r$text, "\n"); return(invisible()) }
    j <- r$json; data <- data[ave(!is.na(data$y), data$trial, FUN = any), ]; data$m <- is.na(data$y); o <- data[!data$m, ]
    one <- function(tag, cell, x, all) { if (nrow(all) == 0) return()
      check(paste(name, tag, "counts"), c(cell$rows, cell$trials, cell$missing), c(nrow(x), length(unique(x$trial)), sum(all$m)), 0)
      if (nrow(x)) check(paste(name, tag, "mean"), cell$mean, mean(x$y - shift) + shift, 1e-12, 1, "descriptive mean")
      if (nrow(x) > 1) check(paste(name, tag, "sd"), cell$sd, sd(x$y - shift), 1e-12, 0, "descriptive sd") }
    for (i in seq_along(j$tables$by)) { cells <- j$tables$cells[[i]]; for (q in seq_len(nrow(cells))) { l <- cells$level[q]
      pick <- function(x) switch(j$tables$by[i], all = rep(TRUE, nrow(x)), arm = x$treatment == l, period = (if (l == "0") is.na(x$period) else !is.na(x$period) & x$period == as.integer(l)))
      one(paste(j$tables$by[i], l), cells[q, ], o[pick(o), ], data[pick(data), ]) } }
    b <- j$histogram$breaks; n <- j$histogram$arms
    for (a in 0:1) check(paste(name, "histogram", a), n$counts[[which(n$level == a)]], hist(o$y[o$treatment == a], breaks = b, plot = FALSE)$counts, 0)
    e <- tryCatch(effects_of(transform(o, y = y - shift, cycle = ifelse(is.na(cycle), 0, cycle)), "pool"), error = function(x) NULL)
    if (!is.null(e)) { k <- if (nrow(e) > 1) 3 else 2; check(paste(name, "difference"), c(j$difference$trials, j$difference$mean, j$difference$sd)[1:k], c(nrow(e), mean(e$yi), sd(e$yi))[1:k], 1e-11, 1e-2, "descriptive difference") }
    h <- hist(o$y, breaks = b, plot = FALSE)$counts; q <- sapply(c(0.25, 0.5, 0.75) * sum(h), function(p) { i <- which(cumsum(h) >= p & h > 0)[1]; b[i] + (b[i + 1] - b[i]) * (p - sum(h[seq_len(i - 1)])) / h[i] })
    check(paste(name, "quantiles"), unlist(j$quantiles[j$quantiles$level == "all", c("q25", "median", "q75")]), q, 1e-10, 1)
  }
  go("describe", function(n) describe(n, series(20)))
  go("describe: missing", function(n) { d <- series(20); d$y[runif(nrow(d)) < 0.2] <- NA; d$y[d$trial == "t0003"] <- NA; d$y[d$period == 4] <- NA; describe(n, d) })
  go("describe: by arm", function(n) describe(n, series(20), extra = "by: [arm]"))
  go("describe: by period", function(n) describe(n, series(20), extra = "by: [period]"))
  go("describe: offset", function(n) { d <- series(20); d$y <- d$y + 1e8; describe(n, d, shift = 1e8) })
  go("describe: small", function(n) { d <- series(20); d$y <- d$y * 1e-6; describe(n, d) })
  go("describe: one trial", function(n) describe(n, series(1, lost = 0, sites = 1)))
  go("describe: three arms", function(n) { d <- series(20, arms = c("0", "1", "2")); describe(n, d, data = d[d$treatment != "2", ]) })
  go("describe: equal", function(n) { d <- series(6); d$y <- 7; describe(n, d) })
  go("describe: bins", function(n) describe(n, series(30), extra = "bins: 37"))
  go("describe: no schedule", function(n) { d <- series(15); d$period <- NA; describe(n, d, w = wire(d, "cycle", "period", "time"), map = map_of(cov, c("trial", "treatment"))) })
}
