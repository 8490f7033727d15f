# SPDX-License-Identifier: GPL-3.0-or-later
# Data and constants of test_mixed_refit.c: confint of lme4's profile on a fine grid (which it interpolates), and
# differences of logLik with the mixtures written out. Usage: Rscript make.R (in this folder); takes minutes.
for (p in c("reference.R", "dense.R", "structure_cases.R")) source(file.path("../random", p))
set.seed(5); d <- nested(16, arm_sd = 1.5, cycle_sd = 0)
fit <- function(f, reml) lmer(f, d, REML = reml, control = lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-12, maxfun = 1e6)))
m <- fit(y ~ treatment + (1 + treatment | trial), FALSE); r <- fit(y ~ treatment + (1 + treatment | trial), TRUE)
ci <- confint(profile(m, maxpts = 200, delta = 0.02, signames = FALSE))
s <- 2 * as.numeric(logLik(r) - logLik(fit(y ~ treatment + (1 | trial), TRUE)))
t <- 2 * as.numeric(logLik(m) - logLik(fit(y ~ 1 + (1 + treatment | trial), FALSE)))
write.csv(d[, c("trial", "cycle", "period", "treatment", "y")], "slope.csv", row.names = FALSE, quote = FALSE)
n <- function(x) paste0("[", paste(sprintf("%.17g", x), collapse = ", "), "]")
writeLines(c("{", paste0('  "sd": [', paste(apply(ci[c(1, 3, 4), ], 1, n), collapse = ", "), "],"), paste0('  "fixed": [', paste(apply(ci[5:6, ], 1, n), collapse = ", "), "],"),
  paste0('  "variance": ', n(c(s, 0.5 * pchisq(s, 1, lower.tail = FALSE) + 0.5 * pchisq(s, 2, lower.tail = FALSE))), ","),
  paste0('  "term": ', n(c(t, pchisq(t, 1, lower.tail = FALSE))), ","), paste0('  "versions": "', R.version.string, ", lme4 ", packageVersion("lme4"), '"'), "}"), "slope.json")
