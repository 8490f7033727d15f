# SPDX-License-Identifier: GPL-3.0-or-later
# The pooled analyses of the generated consortium, by R alone (sourced by reference.R).
folder <- args[1]
d <- do.call(rbind, lapply(list.files(file.path(folder, "sites"), full.names = TRUE), read.csv))
d <- d[d$phase == "treatment" & !is.na(d$pain), ]
both <- tapply(d$trt, d$id, function(t) length(unique(t)) == 2)
d <- d[d$id %in% names(both)[both], ]
d$treatment <- as.numeric(d$trt == "B")
# two stages on complete cycles: differences of period means, variance pooled within trials
pm <- aggregate(pain ~ id + cycle + period + treatment, d, mean)
cy <- reshape(aggregate(pain ~ id + cycle + treatment, pm, mean), idvar = c("id", "cycle"), timevar = "treatment", direction = "wide")
cy$d <- cy$pain.1 - cy$pain.0; cy <- cy[!is.na(cy$d), ]
s <- split(cy$d, cy$id); k <- sapply(s, length); yi <- sapply(s, mean)
sigma2 <- sum(sapply(s, function(x) sum((x - mean(x))^2))) / sum(k - 1)
m <- rma(yi, sigma2 / k, method = "REML", test = "knha", control = list(threshold = 1e-13, maxiter = 20000))
# one stage on complete cycles: y ~ 0 + trial:cycle + treatment + (0 + treatment | trial) on period means is this
# model of the cycle differences, whose residual variance is twice as large
slope <- lmer(d ~ 1 + (1 | id), cy, control = tight)
deviance_at <- update(slope, devFunOnly = TRUE); theta <- getME(slope, "theta")
for (step in 1:5) { # Newton on lmer's own deviance: the exact optimum, not the optimiser's stopping point
  h <- 1e-4; f <- sapply(theta + h * (-2:2), deviance_at)
  theta <- theta - ((8 * (f[4] - f[2]) - (f[5] - f[1])) / (12 * h)) / ((-f[5] + 16 * f[4] - 30 * f[3] + 16 * f[2] - f[1]) / (12 * h^2))
}
slope <- lmer(d ~ 1 + (1 | id), cy, start = theta, control = lmerControl(optimizer = NULL, calc.derivs = FALSE))
kr <- sqrt(as.matrix(vcovAdj(slope))[1, 1]); df <- get_Lb_ddf(slope, 1)
number <- function(path, value) list(path = path, value = unname(value))
out$generated_effects <- list(tolerance = 1e-8, numbers = list(
  "effect" = number("estimates/0/estimate", as.numeric(m$b)), "its standard error (Knapp-Hartung)" = number("estimates/0/std.error", m$se),
  "tau^2" = number("heterogeneity/tau.squared", m$tau2), "Cochran's Q" = number("heterogeneity/cochran.qe", m$QE),
  "within-trial variance" = number("within/sigma.squared", sigma2)))
out$generated_slope <- list(tolerance = 1e-6, numbers = list(
  "effect of treatment" = number("estimates/0/estimate", fixef(slope)[1]),
  "its standard error (Kenward-Roger)" = number("estimates/0/std.error", kr), "its degrees of freedom" = number("estimates/0/df", df),
  "variance of the effect between trials" = number("variance_components/0/estimate", as.numeric(VarCorr(slope)$id)),
  "residual variance" = number("variance_components/1/estimate", sigma(slope)^2 / 2)))
