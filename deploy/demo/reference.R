# SPDX-License-Identifier: GPL-3.0-or-later
# Makes deploy/demo/reference.json: what R says of the pooled rows, at the exact optimum.
# Usage: Rscript deploy/demo/reference.R GENERATED_DIR   (from `nof1 lab new --sites 8 --trials 240 --seed 7 --out ...`)
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
number <- function(path, value) list(path = path, value = unname(value))
out <- list(
  versions = list(R = R.version.string, lme4 = as.character(packageVersion("lme4")),
                  metafor = as.character(packageVersion("metafor")), pbkrtest = as.character(packageVersion("pbkrtest"))),
  sleep_descriptive = list(tolerance = 1e-12, numbers = list(
    "mean, drug 1" = number("tables/1/cells/0/mean", m[1]), "sd, drug 1" = number("tables/1/cells/0/sd", s[1]),
    "mean, drug 2" = number("tables/1/cells/1/mean", m[2]), "sd, drug 2" = number("tables/1/cells/1/sd", s[2]))),
  sleep_model = list(tolerance = 1e-9, numbers = list(
    "effect of drug 2 against 1" = number("estimates/1/estimate", mean(diff)),
    "its standard error" = number("estimates/1/std.error", sd(diff) / sqrt(n)),
    "its degrees of freedom" = number("estimates/1/df", n - 1),
    "variance between trials" = number("variance_components/0/estimate", tau2),
    "residual variance" = number("variance_components/1/estimate", sigma2))))
if (length(args) > 0) source(file.path(here, "generated.R"), local = TRUE)
write_json(out, file.path(here, "reference.json"), digits = NA, auto_unbox = TRUE, pretty = TRUE)
