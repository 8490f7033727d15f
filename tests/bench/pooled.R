# SPDX-License-Identifier: GPL-3.0-or-later
# What a user would run instead: lmer, lme, rma on the pooled rows. Usage: pooled.R SITES_DIR OUTCOME
# Prints one JSON object of elapsed seconds (median of up to 3 runs; null where R cannot).
suppressMessages({library(lme4); library(nlme); library(metafor)})
args <- commandArgs(TRUE)
d <- do.call(rbind, lapply(list.files(args[1], full.names = TRUE), read.csv))
d$y <- d[[args[2]]]; d <- d[!is.na(d$y), ]; d$trial <- factor(d$trial); d$treatment <- as.numeric(factor(d$treatment)) - 1
n <- nlevels(d$trial)
timed <- function(limit, expr) {
  if (n > limit) return(NA)
  e <- substitute(expr); env <- parent.frame()
  t <- sapply(seq_len(if (n > 20000) 1 else 3), function(i) tryCatch(system.time(suppressWarnings(suppressMessages(eval(e, env))))[["elapsed"]], error = function(e) NA))
  median(t, na.rm = TRUE)
}
out <- c(
  lmer_slope = timed(2e5, lmer(y ~ treatment + (1 + treatment | trial), d, control = lmerControl(calc.derivs = FALSE, check.conv.singular = "ignore"))),
  lme_slope = timed(2e4, lme(y ~ treatment, d, random = ~ treatment | trial, control = lmeControl(returnObject = TRUE))),
  rma_reml = timed(2000, { pm <- aggregate(y ~ trial + period + treatment, d, mean)
    s <- split(pm, pm$trial, drop = TRUE)
    e <- t(sapply(s, function(x) { A <- x$y[x$treatment == 0]; B <- x$y[x$treatment == 1]
      c(mean(B) - mean(A), 1 / length(A) + 1 / length(B), sum((A - mean(A))^2) + sum((B - mean(B))^2), length(A) + length(B) - 2) }))
    e <- e[is.finite(e[, 1]), ]; rma(e[, 1], e[, 2] * sum(e[, 3]) / sum(e[, 4]), method = "REML", test = "knha") }))
cat("{", paste(sprintf("\"%s\": %s", names(out), ifelse(is.na(out), "null", format(out))), collapse = ", "), "}\n")
