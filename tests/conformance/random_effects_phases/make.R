# SPDX-License-Identifier: GPL-3.0-or-later
# Constants of test_random_effects_phases.c: changes of level and slope by lm in each trial, trials with starts
# of their own, combined by metafor::rma run tight. Usage: Rscript make.R (in this folder).
suppressMessages({library(metafor); library(jsonlite)})
set.seed(5)
draw <- function(i) {
  n <- sample(9:14, 1); s <- sample(4:(n - 3), 1); t <- sort(sample(1:20, n)); a <- as.integer(seq_len(n) > s)
  y <- 10 + rnorm(1, 0, 2) + 0.1 * t + a * (2 + rnorm(1)) + a * (t - t[s + 1]) * (0.2 + rnorm(1, 0, 0.1)) + rnorm(n, 0, 0.8)
  data.frame(trial = sprintf("t%02d", i), period = seq_len(n), time = t, treatment = a, y = round(y, 3)) }
d <- do.call(rbind, lapply(1:26, draw))
write.csv(d, "staggered.csv", row.names = FALSE, quote = FALSE)
own <- function(effect, by) do.call(rbind, lapply(split(d, d$trial), function(e) {
  t <- e[[by]]; a <- e$treatment; m <- lm(e$y ~ t + a + I(a * (t - min(t[a == 1]))))
  i <- if (effect == "level_change") 3 else 4
  data.frame(y = unname(coef(m)[i]), v = vcov(m)[i, i]) }))
cases <- list()
for (effect in c("level_change", "slope_change")) for (by in c("time", "period")) for (method in c("REML", "DL", "FE")) {
  o <- own(effect, by); test <- if (method == "REML") "knha" else "z"
  m <- rma(o$y, o$v, method = method, test = test, control = list(threshold = 1e-14, maxiter = 1000))
  cases[[length(cases) + 1]] <- list(options = paste0("analysis: random_effects\neffect: ", effect, "\nby: ", by, "\nmethod: ", method,
    "\ntest: ", test, "\n"), estimate = as.numeric(m$beta), error = m$se, q = m$QE, tau2 = m$tau2) }
writeLines(toJSON(cases, auto_unbox = TRUE, digits = I(17), pretty = TRUE), "expected.json")
writeLines(c(R.version.string, paste("metafor", packageVersion("metafor"))), "versions.txt")
