# SPDX-License-Identifier: GPL-3.0-or-later
# The pooled analyses of the generated consortium, by R alone (sourced by reference.R).
folder <- args[1]
d <- do.call(rbind, lapply(list.files(file.path(folder, "sites"), full.names = TRUE), read.csv))
d <- d[d$phase == "treatment" & !is.na(d$pain), ]
both <- tapply(d$trt, d$id, function(t) length(unique(t)) == 2)
d <- d[d$id %in% names(both)[both], ]
d$treatment <- as.numeric(d$trt == "B")
slope <- lmer(pain ~ treatment + (1 + treatment | id), d, control = tight)
# Newton on lmer's own deviance: the exact optimum, not the optimiser's stopping point
deviance_at <- update(slope, devFunOnly = TRUE); theta <- getME(slope, "theta")
for (step in 1:5) {
  h <- 1e-4; k <- length(theta); g <- numeric(k); H <- matrix(0, k, k)
  at <- function(x) deviance_at(x)
  for (i in 1:k) { e <- replace(numeric(k), i, h)
    g[i] <- (8 * (at(theta + e) - at(theta - e)) - (at(theta + 2 * e) - at(theta - 2 * e))) / (12 * h)
    for (j in 1:i) { f <- replace(numeric(k), j, h)
      H[i, j] <- H[j, i] <- (at(theta + e + f) - at(theta + e - f) - at(theta - e + f) + at(theta - e - f)) / (4 * h * h) } }
  theta <- theta - solve(H, g)
}
slope <- lmer(pain ~ treatment + (1 + treatment | id), d, start = theta, control = lmerControl(optimizer = NULL, calc.derivs = FALSE))
v <- as.data.frame(VarCorr(slope))
kr <- sqrt(as.matrix(vcovAdj(slope))[2, 2])
df <- get_Lb_ddf(slope, c(0, 1))
# two stages on complete cycles: differences of period means, variance pooled within trials
pm <- aggregate(pain ~ id + cycle + period + treatment, d, mean)
cy <- reshape(aggregate(pain ~ id + cycle + treatment, pm, mean), idvar = c("id", "cycle"), timevar = "treatment", direction = "wide")
cy$d <- cy$pain.1 - cy$pain.0; cy <- cy[!is.na(cy$d), ]
s <- split(cy$d, cy$id); k <- sapply(s, length); yi <- sapply(s, mean)
sigma2 <- sum(sapply(s, function(x) sum((x - mean(x))^2))) / sum(k - 1)
m <- rma(yi, sigma2 / k, method = "REML", test = "knha", control = list(threshold = 1e-13, maxiter = 20000))
number <- function(path, value) list(path = path, value = unname(value))
out$generated_effects <- list(tolerance = 1e-8, numbers = list(
  "effect" = number("estimates/0/estimate", as.numeric(m$b)), "its standard error (Knapp-Hartung)" = number("estimates/0/std.error", m$se),
  "tau^2" = number("heterogeneity/tau.squared", m$tau2), "Cochran's Q" = number("heterogeneity/cochran.qe", m$QE),
  "within-trial variance" = number("within/sigma.squared", sigma2)))
out$generated_slope <- list(tolerance = 1e-6, numbers = list(
  "intercept" = number("estimates/0/estimate", fixef(slope)[1]), "effect of treatment" = number("estimates/1/estimate", fixef(slope)[2]),
  "its standard error (Kenward-Roger)" = number("estimates/1/std.error", kr), "its degrees of freedom" = number("estimates/1/df", df),
  "variance of the intercept" = number("variance_components/0/estimate", v$vcov[1]),
  "variance of the effect" = number("variance_components/1/estimate", v$vcov[2]),
  "residual variance" = number("variance_components/3/estimate", v$vcov[4]),
  "REML criterion" = number("fit/REMLcrit", as.numeric(-2 * logLik(slope)))))
