# SPDX-License-Identifier: GPL-3.0-or-later
# Makes the data and constants of test_baseline_treatment.c: Rscript make.R. Every model is fitted by
# nlme run tight, then polished by Newton steps on dense matrices to the exact optimum (nlme stops
# earlier); the script ends when the two differ by more than 1e-4. iid: Kenward-Roger by pbkrtest and
# Satterthwaite by lmerTest. Data: simulated; nlme::Ovary (Pierson & Ginther 1987) with the mare's own
# midpoint of the cycle as a start; datasets::Seatbelts (Harvey & Durbin 1986), the law of 1983.
suppressMessages({library(nlme); library(lme4); library(lmerTest); library(pbkrtest); library(jsonlite)})
here <- dirname(normalizePath(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE)[1])))
setwd(here)
versions <- sapply(c("nlme", "lme4", "lmerTest", "pbkrtest"), function(p) as.character(packageVersion(p)))

design <- function(d, fixed, change) {
  X <- cbind("(Intercept)" = 1)[rep(1, nrow(d)), , drop = FALSE]
  if (fixed) X <- cbind(X, time = d$time)
  if ("level" %in% change) X <- cbind(X, level_change = d$x)
  if ("slope" %in% change) X <- cbind(X, slope_change = d$x * (d$time - d$start))
  X
}
source("../random/serial.R")

cases <- list()
add <- function(name, d, fixed = TRUE, change = c("level", "slope"), random = "intercept", residual = "iid", by = "time",
                method = "REML", form = NULL, write_data = TRUE, data = name, df = NULL) {
  all <- d[order(d$trial, d$time), ]; d <- all[!is.na(all$y), ]
  X <- design(d, fixed, change)
  Z <- design(d, TRUE, c("level", "slope"))[, c(intercept = "(Intercept)", level_change = "level_change", slope_change = "slope_change")[random], drop = FALSE]
  serial <- residual != "iid"; reml <- method == "REML"; q <- ncol(Z)
  f <- data.frame(y = d$y, trial = factor(d$trial), time = d$time, X[, -1, drop = FALSE][, setdiff(colnames(X)[-1], "time"), drop = FALSE])
  rhs <- paste(c("1", colnames(X)[-1]), collapse = " + "); fo <- as.formula(paste("y ~", rhs))
  gaps <- any(unlist(tapply(d$time, d$trial, diff)) != 1)
  cor <- if (serial) (if (gaps) corCAR1(0.3, form = ~ time | trial) else corAR1(0.2, form = ~ time | trial))
  if (q == 0) {
    n <- gls(fo, f, correlation = cor, method = method, control = glsControl(msTol = 1e-14, tolerance = 1e-12, msMaxIter = 500))
    start <- n$sigma^2
  } else {
    zf <- as.formula(paste("~", sub("intercept", "1", paste(random, collapse = " + ")), "| trial"))
    n <- lme(fo, f, random = zf, correlation = cor, method = method, control = lmeControl(msTol = 1e-14, tolerance = 1e-12, niterEM = 200, msMaxIter = 500, returnObject = TRUE))
    G <- unclass(getVarCov(n)); low <- which(lower.tri(G, TRUE), arr.ind = TRUE); low <- low[order(low[, 1], low[, 2]), , drop = FALSE]
    start <- c(G[low], n$sigma^2) }
  if (serial) start <- c(start, coef(n$modelStruct$corStruct, unconstrained = FALSE))
  e <- exact(d, X, Z, serial, reml, as.numeric(start))
  near <- function(a, b, what) if (any(abs(a - b) > 1e-4 * pmax(1, abs(b)))) stop(name, ": ", what, " differs from nlme")
  near(e$f, -2 * as.numeric(logLik(n)), "criterion")
  near(e$b, if (q == 0) coef(n) else fixef(n), "coefficients")
  m <- length(e$theta) - 1 - serial
  r <- list(name = name, data = data, form = form, method = method, terms = I(colnames(X)), estimate = I(unname(e$b)), std.error = I(unname(e$se)),
            var = I(e$theta[seq_len(m)]), sigma2 = e$theta[m + 1], rho = if (serial) e$theta[m + 2], criterion = e$f, nobs = nrow(d),
            versions = as.list(versions))
  if (!serial && q > 0 && reml) {
    lf <- as.formula(paste("y ~", rhs, "+ (", sub("intercept", "1", paste(random, collapse = " + ")), "| trial)"))
    l <- lmerTest::lmer(lf, f, control = lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-11, maxfun = 1e5)))
    Va <- vcovAdj(l); r$kr.std.error <- I(unname(sqrt(diag(as.matrix(Va)))))
    r$kr.df <- I(unname(sapply(seq_along(e$b), function(k) { L <- numeric(length(e$b)); L[k] <- 1; pbkrtest::Lb_ddf(L, vcov(l), Va) })))
    r$satterthwaite.df <- I(unname(coef(summary(l))[, "df"])) }
  list_of <- function(x) paste0("[", paste(x, collapse = ", "), "]")
  r$options <- paste0("analysis: baseline_treatment\nfixed: ", if (fixed) "[time]" else "[]", "\nchange: ", list_of(change), "\nrandom: {trial: ", list_of(random),
                      "}\nresidual: ", residual, "\nby: ", by, "\nmethod: ", method, if (!is.null(form)) paste0("\nincomplete: ", form), if (!is.null(df)) paste0("\ndf: ", df))
  write_json(r, paste0(name, ".json"), auto_unbox = TRUE, digits = 17, null = "null", pretty = TRUE)
  if (data == name) {
    w <- with(all, data.frame(trial, cycle = "", period = if (by == "period") time else x + 1, time, treatment = ifelse(x == 1, "B", "A"), y))
    write.csv(w, paste0(name, ".csv"), row.names = FALSE, quote = FALSE, na = "") } }

series <- function(n, T, start, rho = 0.5, level = 2, change = 0.8, slope = 0, keep = 1, step = 1, digits = 3) {
  do.call(rbind, lapply(seq_len(n), function(i) {
    t <- cumsum(c(1, if (is.function(step)) step(T - 1) else rep(step, T - 1))); s <- t[if (is.function(start)) start(i) else start]
    e <- as.numeric(t(chol(rho^abs(outer(t, t, "-")))) %*% rnorm(T)); x <- as.integer(t >= s)
    y <- 50 + rnorm(1, 0, level) + 0.2 * t + x * (3 + rnorm(1, 0, change) + (0.3 + rnorm(1, 0, slope)) * (t - s)) + e
    k <- runif(T) < keep; k[c(1, T)] <- TRUE
    data.frame(trial = sprintf("p%02d", i), time = t, x = x, start = s, y = ifelse(k, round(y, digits), NA)) })) }

set.seed(20); d <- series(24, 10, 6, rho = 1e-9)
add("same_iid", d, by = "period", form = "class")
add("same_iid_ml", d, by = "period", form = "class", method = "ML", data = "same_iid", df = "z")
add("same_iid_score", d, form = "score", data = "same_iid")
add("same_change", d, by = "period", form = "class", random = c("intercept", "level_change"), data = "same_iid")
add("same_change_score", d, form = "score", random = c("intercept", "level_change"), data = "same_iid")
add("same_satterthwaite", d, by = "period", form = "class", random = c("intercept", "level_change"), data = "same_iid", df = "satterthwaite")
set.seed(21); d <- series(30, 12, 7, rho = 0.5)
add("same_ar1", d, by = "period", form = "class", residual = "ar1")
add("same_ar1_ml", d, by = "period", form = "class", residual = "ar1", method = "ML", data = "same_ar1")
add("same_ar1_score", d, form = "score", residual = "ar1", data = "same_ar1")
add("same_ar1_gls", d, by = "period", form = "class", residual = "ar1", random = character(0), data = "same_ar1")
add("same_ar1_gls_score", d, form = "score", residual = "ar1", random = character(0), data = "same_ar1")
add("same_ar1_change", d, by = "period", form = "class", residual = "ar1", random = c("intercept", "level_change"), data = "same_ar1")
add("same_ar1_change_score", d, form = "score", residual = "ar1", random = c("intercept", "level_change"), data = "same_ar1")
set.seed(22); d <- series(26, 12, function(i) 4 + i %% 5, rho = 0.4, keep = 0.85)
add("staggered_gaps", d, residual = "ar1")
add("staggered_iid", d, data = "staggered_gaps")
add("staggered_level", d, data = "staggered_gaps", change = "level", residual = "ar1")
add("staggered_flat", d, data = "staggered_gaps", fixed = FALSE, change = "level", residual = "ar1")
set.seed(23); d <- series(20, 11, function(i) 5 + i %% 3, rho = 0.6, step = function(k) round(runif(k, 0.4, 2.1), 2))
add("real_time", d, residual = "car1")
set.seed(24); d <- series(24, 10, function(i) if (i %% 2) 4 else 6, rho = 0.5)
add("two_classes", d, by = "period", form = "class", residual = "ar1")
add("two_classes_iid", d, by = "period", form = "class", random = c("intercept", "level_change"), data = "two_classes")
set.seed(25); d <- series(24, 14, function(i) 6, rho = 0.5, slope = 0.4)
add("three_effects", d, by = "period", form = "class", random = c("intercept", "level_change", "slope_change"))
add("three_effects_score", d, form = "score", random = c("intercept", "level_change", "slope_change"), data = "three_effects")
# gaps that all share: periods 1, 2, 4, 5, 7, 8, 10, 11
set.seed(26); d <- series(24, 11, 7, rho = 0.5); d <- d[d$time %in% c(1, 2, 4, 5, 7, 8, 10, 11), ]
add("same_gaps", d, by = "period", form = "class", residual = "ar1")
o <- as.data.frame(nlme::Ovary); o <- do.call(rbind, lapply(split(o, as.character(o$Mare)), function(m) {
  m <- m[order(m$Time), ]; n <- nrow(m); k <- n %/% 2; data.frame(trial = sprintf("m%02d", as.integer(as.character(m$Mare))), time = seq_len(n), x = as.integer(seq_len(n) > k), start = k + 1, y = m$follicles) }))
add("ovary", o, residual = "ar1")
add("ovary_gls", o, residual = "ar1", random = character(0), data = "ovary")
s <- data.frame(datasets::Seatbelts); s$t <- seq_len(nrow(s)); law <- which(s$law == 1)[1]
s <- data.frame(trial = "driver", time = s$t, x = as.integer(s$t >= law), start = law, y = s$DriversKilled)
add("seatbelts", s, residual = "ar1", random = character(0))
