# SPDX-License-Identifier: GPL-3.0-or-later
# The lab's results against R on the kept rows: random_effects (period differences, pooled variance,
# metafor) and mixed_model (lme4, run tight). Usage: Rscript lab_reference.R RANDOM_EFFECTS_OUT SLOPE_OUT
suppressMessages({
  library(jsonlite)
  library(lme4)
  library(metafor)
})
arguments <- commandArgs(trailingOnly = TRUE)
bad <- 0
close_to <- function(what, got, wanted, tolerance) {
  error <- max(abs(got - wanted) / pmax(abs(wanted), 1e-12))
  if (!is.finite(error) || error > tolerance) {
    cat(sprintf("%s: got %.15g, R says %.15g, relative error %.2g\n", what, got, wanted, error))
    bad <<- bad + 1
  }
}

rows <- read.csv(file.path(arguments[1], "kept.csv"))
result <- fromJSON(file.path(arguments[1], "result.json"))
rows$id <- paste(rows$site, rows$trial)
means <- aggregate(pain ~ id + period + treatment, rows, mean)
d <- do.call(rbind, lapply(split(means, means$id), function(s) {
  a <- s$pain[s$treatment == "A"]
  b <- s$pain[s$treatment == "B"]
  if (length(a) == 0 || length(b) == 0) return(NULL)
  data.frame(d = mean(b) - mean(a), u = 1 / length(a) + 1 / length(b),
             ss = sum((a - mean(a))^2) + sum((b - mean(b))^2), df = length(a) + length(b) - 2)
}))
sigma2 <- sum(d$ss) / sum(d$df)
fit <- rma(d$d, sigma2 * d$u, method = "REML", test = "knha",
           control = list(threshold = 1e-14, maxiter = 10000))
close_to("estimate", result$estimates$estimate, as.numeric(coef(fit)), 1e-8)
close_to("standard error", result$estimates$std.error, fit$se, 1e-8)
close_to("tau^2", result$heterogeneity$tau.squared, fit$tau2, 1e-6)
close_to("Q", result$heterogeneity$cochran.qe, fit$QE, 1e-8)

rows <- read.csv(file.path(arguments[2], "kept.csv"))
result <- fromJSON(file.path(arguments[2], "result.json"))
rows$id <- paste(rows$site, rows$trial)
fit <- lmer(pain ~ treatment + (1 + treatment | id), rows,
            control = lmerControl(optimizer = "bobyqa",
                                  optCtrl = list(rhobeg = 0.1, rhoend = 1e-12, maxfun = 1e5)))
close_to("fixed effects", result$estimates$estimate, as.numeric(fixef(fit)), 1e-8)
close_to("REML criterion", result$fit$REMLcrit, as.numeric(REMLcrit(fit)), 1e-9)
close_to("variances", result$variance_components$estimate, as.data.frame(VarCorr(fit))$vcov, 1e-5)
quit(status = if (bad > 0) 1 else 0)
