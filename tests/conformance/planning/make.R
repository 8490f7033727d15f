# SPDX-License-Identifier: GPL-3.0-or-later
# Constants of tests/conformance/test_planning.c: Senn 2019 (SMMR 28:372), power by base R's
# power.t.test, tails of the noncentral t by integrate. Run in this folder: Rscript make.R
number <- function(x) if (length(x) == 0 || is.na(x) || !is.finite(x)) "null" else sprintf("%.17g", x)
json <- function(x) {
  if (is.list(x)) {
    if (is.null(names(x))) return(paste0("[", paste(vapply(x, json, ""), collapse = ",\n"), "]"))
    return(paste0("{", paste0("\"", names(x), "\": ", vapply(x, json, ""), collapse = ", "), "}"))
  }
  if (is.character(x)) return(paste0("\"", x, "\""))
  number(x)
}
# P(T > c) = E Phi(ncp - c S); pt() itself stops at about 1e-12 relative and gives up for |ncp| > 37.62
upper <- function(c, df, ncp) {
  f <- function(s) exp(log(2) + df / 2 * log(df / 2) - lgamma(df / 2) + (df - 1) * log(s) - df * s^2 / 2) * pnorm(ncp - c * s)
  w <- 9 / sqrt(2 * df); cut <- sort(unique(c(max(0, 1 - w), min(max(ncp / max(c, 1e-9), max(0, 1 - w)), 1 + 1.5 * w), 1, 1 + 1.5 * w)))
  sum(vapply(seq_along(cut)[-1], function(i) integrate(f, cut[i - 1], cut[i], rel.tol = 1e-13, subdivisions = 2000L)$value, 0))
}
tails <- list()
for (df in c(1, 2, 5, 11, 29, 200, 5000)) for (c in c(0, 0.5, 2, 12.7, 60)) for (ncp in c(-3, 0, 0.7, 2.8, 15, 60))
  tails[[length(tails) + 1]] <- list(df = df, c = c, ncp = ncp, p = upper(c, df, ncp))
row <- function(n, k, effect, psi, sigma, alpha, sides) {
  v <- psi^2 + 2 * sigma^2 / k
  list(patients = n, cycles = k, se = sqrt(v / n), half = qt(1 - alpha / 2, n - 1) * sqrt(v / n),
       power = power.t.test(n, abs(effect), sqrt(v), alpha, type = "one.sample", alternative = paste0(sides, ".sided"), strict = TRUE)$power,
       patient = if (psi > 0) sqrt(1 / (1 / psi^2 + k / (2 * sigma^2))) else 0)
}
grid <- list()
for (s in list(c(1, 1.5, 2, 0.05), c(-0.4, 0, 1, 0.01), c(2, 0.3, 3, 0.2))) for (sides in c("two", "one")) grid[[length(grid) + 1]] <-
  list(effect = s[1], psi = s[2], sigma = s[3], alpha = s[4], sides = sides, rows = unlist(lapply(c(2, 3, 8, 25, 120), function(n) lapply(c(1, 2, 3, 6), function(k) row(n, k, s[1], s[2], s[3], s[4], sides))), FALSE))
least <- function(ok, from, to) { for (x in from:to) if (ok(x)) return(x); NA }
solved <- list()
for (psi in c(0, 1, 2)) for (power in c(0.8, 0.9)) solved[[length(solved) + 1]] <- list(psi = psi, power = power,
  patients = as.list(vapply(1:4, function(k) least(function(n) row(n, k, 1, psi, 1.5, 0.05, "two")$power >= power, 2, 1000), 0)),
  cycles = as.list(vapply(c(10, 20, 50), function(n) as.numeric(least(function(k) row(n, k, 1, psi, 1.5, 0.05, "two")$power >= power, 1, 1000)), 0)),
  precise = as.list(vapply(1:4, function(k) least(function(n) row(n, k, 1, psi, 1.5, 0.05, "two")$half <= 0.6, 2, 1000), 0)))
cat(json(list(made_by = "make.R", R = R.version.string, tails = tails, grid = grid, solved = solved)), "\n", file = "expected.json")
