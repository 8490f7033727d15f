# SPDX-License-Identifier: GPL-3.0-or-later
# Makes deploy/demo/reference.json: what R says of the pooled rows, at the exact optimum.
# Usage: Rscript deploy/demo/reference.R GENERATED_DIR   (from `nof1 lab new --sites 8 --trials 60 --seed 7 --out ...`)
suppressMessages({library(lme4); library(pbkrtest); library(metafor); library(jsonlite)})
here <- dirname(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE)))
args <- commandArgs(TRUE)
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhobeg = 0.1, rhoend = 1e-13, maxfun = 1e6), calc.derivs = FALSE)
sleep <- do.call(rbind, lapply(list.files(file.path(here, "sleep/sites"), full.names = TRUE), read.csv))
m <- tapply(sleep$extra, sleep$treatment, mean); s <- tapply(sleep$extra, sleep$treatment, sd)
fit <- lmer(extra ~ treatment + (1 | trial), sleep, control = tight)
# complete and balanced: REML has a closed form, so the constants are exact
d <- tapply(sleep$extra, list(sleep$trial, sleep$treatment), sum); diff <- d[, 2] - d[, 1]; n <- nrow(d)
sigma2 <- var(diff) / 2; ms_between <- 2 * var(rowMeans(d)); tau2 <- (ms_between - sigma2) / 2
stopifnot(tau2 > 0, abs(fixef(fit)[2] - mean(diff)) < 1e-9, abs(sigma(fit)^2 - sigma2) < 1e-6)
out <- list(versions = list(R = R.version.string, lme4 = as.character(packageVersion("lme4"))),
  sleep = list(mean = as.numeric(m), sd = as.numeric(s), effect = mean(diff), se = sd(diff) / sqrt(n), df = n - 1,
               sigma.squared = sigma2, trial.variance = tau2))
if (length(args) > 0) source(file.path(here, "generated.R"), local = TRUE)
write_json(out, file.path(here, "reference.json"), digits = NA, auto_unbox = TRUE, pretty = TRUE)
