# SPDX-License-Identifier: GPL-3.0-or-later
# Constants of test_mixed_structure.c for correlated residuals: nlme run tight, then polished by Newton steps on
# dense matrices (../random/serial.R). Usage: Rscript make.R (in this folder).
suppressMessages({library(nlme); library(jsonlite)})
source("../random/serial.R")
number <- function(x) if (length(x) == 1) sprintf("%.17g", x) else paste0("[", paste(sprintf("%.17g", x), collapse = ", "), "]")
near <- function(what, a, b, tol = 1e-4) { d <- max(abs(a - b) / pmax(1, abs(b))); cat(sprintf("  %-12s %.1e\n", what, d)); stopifnot(d < tol) }
draw <- function(n, T = 6, rho = 0.5, level = 2, change = 0, keep = 1, step = 1) do.call(rbind, lapply(seq_len(n), function(i) {
  t <- cumsum(c(1, if (is.function(step)) step(T - 1) else rep(step, T - 1)))
  x <- as.vector(replicate(T / 2, sample(0:1))); R <- sign(rho)^abs(outer(t, t, "-")) * abs(rho)^abs(outer(t, t, "-"))
  y <- 20 + rnorm(1, 0, level) + x * (1 + rnorm(1, 0, change)) + as.numeric(t(chol(R)) %*% rnorm(T))
  d <- data.frame(trial = sprintf("t%03d", i), cycle = (seq_len(T) + 1) %/% 2, period = seq_len(T), time = t, treatment = c("a", "b")[x + 1], y = round(y, 3))
  d[runif(T) < keep | seq_len(T) < 3, ] }))
make <- function(name, d, random = "1", residual = "ar1", by = "time", method = "REML", terms = "treatment", form = "score", extra = "") {
  cat(name, "\n"); d$treatment <- factor(d$treatment); reml <- method == "REML"; d$time <- if (by == "time") d$time else d$period
  f <- as.formula(paste("y ~", paste(terms, collapse = " + "))); X <- model.matrix(f, d)
  cor <- if (residual == "car1") corCAR1(0.3, form = ~ time | trial) else corAR1(0.2, form = ~ time | trial)
  if (random == "0") { m <- gls(f, d, cor, method = method, control = glsControl(msTol = 1e-14, tolerance = 1e-12)); Z <- X[, 0]; G <- NULL
  } else { zf <- as.formula(paste("~", random)); Z <- model.matrix(zf, d)
    m <- lme(f, d, as.formula(paste("~", random, "| trial")), correlation = cor, method = method, control = lmeControl(msTol = 1e-14, tolerance = 1e-12, niterEM = 200, msMaxIter = 500, returnObject = TRUE))
    G <- unclass(getVarCov(m)); G <- if (ncol(Z) == 1) G[1] else G[cbind(c(1, 2, 2), c(1, 1, 2))] }
  e <- exact(d, X, Z, TRUE, reml, c(G, m$sigma^2, coef(m$modelStruct$corStruct, unconstrained = FALSE)))
  near("criterion", -2 * as.numeric(logLik(m)), e$f); near("beta", if (random == "0") coef(m) else fixef(m), e$b)
  v <- e$theta; k <- length(v); options <- paste0("analysis: mixed_model\nfixed: [", paste0("\"", terms, "\"", collapse = ", "), "]\nrandom: {trial: [",
    c("0" = "", "1" = "intercept", "1 + treatment" = "intercept, treatment")[random], "]}\nresidual: ", residual, "\nby: ", by, "\nmethod: ", method, "\ndf: z\nreference: a\nactive: b\n", extra, "charter: {centre: 20}\n")
  write.csv(d[, c("trial", "cycle", "period", "time", "treatment", "y", intersect("age", names(d)))], paste0(name, ".csv"), row.names = FALSE, quote = FALSE)
  writeLines(c("{", paste0('  "name": "', name, '",'), paste0('  "options": ', toJSON(options, auto_unbox = TRUE), ','), paste0('  "form": "', form, '",'), '  "boundary": false,',
    paste0('  "components": [', paste(sprintf("%.17g", c(if (k > 3) v[c(1, 3, 2)] else if (k > 2) v[1], v[k - 1])), collapse = ", "), '],'), paste0('  "rho": ', number(v[k]), ','),
    paste0('  "estimate": ', number(unname(e$b)), ','), paste0('  "error": ', number(unname(e$se)), ','), paste0('  "criterion": ', number(e$f)), "}"), paste0(name, ".json"))
}
set.seed(20260222)
d <- draw(30); make("ar1", d, extra = "incomplete: score\n"); make("ar1_ml", d, method = "ML", by = "period", extra = "incomplete: score\n")
make("ar1_gls", d, "0", extra = "incomplete: score\n"); make("ar1_period", d, terms = c("treatment", "period"), extra = "incomplete: score\n")
make("ar1_slope", draw(40, 12, change = 1.5), "1 + treatment")
make("ar1_negative", draw(30, 8, rho = -0.4)); make("ar1_gaps", draw(30, 10, keep = 0.8), by = "period", extra = "incomplete: score\n")
make("car1", draw(26, 8, rho = 0.6, keep = 0.85, step = function(k) round(runif(k, 0.3, 2), 2)), residual = "car1")
make("car1_ml", draw(26, 8, rho = 0.6, step = function(k) round(runif(k, 0.3, 2), 2)), residual = "car1", terms = c("treatment", "time"), method = "ML")
# one round: periods are the occasions
one <- function(name, ...) make(paste0("class_", name), ..., by = "period", form = "class")
set.seed(20261122)
one("ar1", draw(30)); one("ml", draw(30), method = "ML"); one("gls", draw(30), "0"); one("negative", draw(24, 8, rho = -0.4))
one("period", draw(40), terms = c("treatment", "period")); one("factor", draw(40), terms = c("treatment", "factor(period)"), method = "ML")
one("gls_period", draw(40), "0", terms = c("treatment", "period")); one("gaps", draw(30, 8, keep = 0.85)); one("car1", draw(26, 8, rho = 0.6, keep = 0.9), residual = "car1")
d <- draw(24); e <- draw(16, 4); e$trial <- paste0("u", e$trial); d <- rbind(d, e); one("two", d)
d$age <- round(20 + 50 * runif(40))[as.integer(factor(d$trial))]; d$y <- d$y + round(0.05 * d$age, 3); one("age", d, terms = c("treatment", "age"))
d <- draw(24); x <- as.integer(factor(d$trial)) %% 3 == 0 & d$period == 2; d$treatment[x] <- "b"; one("arms", d) # other numbers of rows by arm
d <- draw(20, rho = 0.3); d$y <- d$y + 300; one("far", d) # far from the charter's centre
writeLines(c(R.version.string, paste("nlme", packageVersion("nlme"))), "versions.txt")
