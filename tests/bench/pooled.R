# SPDX-License-Identifier: GPL-3.0-or-later
# What a user would run instead, on the pooled rows: lmer, lme, rma, glmer, clmm2, JAGS.
# Usage: pooled.R SITES_DIR (outcomes y, hit, grade)
# Prints one JSON object of elapsed seconds (median of up to 3 runs; null where R cannot).
suppressMessages({library(lme4); library(nlme); library(metafor)})
args <- commandArgs(TRUE)
d <- do.call(rbind, lapply(list.files(args[1], full.names = TRUE), read.csv))
d$trial <- factor(d$trial); d$treatment <- as.numeric(factor(d$treatment)) - 1
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
has <- function(p) requireNamespace(p, quietly = TRUE)
out["glmer_1"] <- timed(2e5, glmer(hit ~ treatment + (1 | trial), d, binomial, nAGQ = 1))
out["glmer_9"] <- timed(2e4, glmer(hit ~ treatment + (1 | trial), d, binomial, nAGQ = 9))
d$grade <- factor(d$grade)
ordinal_fit <- function() { library(ordinal); clmm2(grade ~ treatment, random = trial, data = d, nAGQ = 9) } # clmm2 calls itself by name
out["clmm2"] <- if (has("ordinal")) timed(2e3, ordinal_fit()) else NA
out["jags"] <- if (has("rjags")) timed(2e3, {
  s <- split(d, d$trial); e <- sapply(s, function(x) mean(x$y[x$treatment == 1]) - mean(x$y[x$treatment == 0]))
  m <- rjags::jags.model(textConnection("model { for (i in 1:n) { t[i] ~ dnorm(mu, 1 / (tau * tau)); y[i] ~ dnorm(t[i], w) }
    mu ~ dnorm(0, 0.01); tau ~ dnorm(0, 0.04) T(0,); w ~ dgamma(0.001, 0.001) }"), list(y = e, n = length(e)), quiet = TRUE)
  rjags::coda.samples(m, c("mu", "tau"), 10000, progress.bar = "none") }) else NA
cat("{", paste(sprintf("\"%s\": %s", names(out), ifelse(is.na(out), "null", format(out))), collapse = ", "), "}\n")
