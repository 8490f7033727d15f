# SPDX-License-Identifier: GPL-3.0-or-later
# Makes the data and constants of tests/conformance/test_goal_attainment.c: Kiresuk & Sherman's T score
# by formula, effects in units of each patient's MCID, then t.test and binom.test. Trials have one, two
# or three goals, some scores are missing. Run in this folder: Rscript make.R
RNGkind("Mersenne-Twister", "Inversion", "Rejection")
source("../summary_test/reference.R")
source("../summary_test/json.R")
set.seed(31)
n <- 18
d <- do.call(rbind, lapply(seq_len(n), function(i) { t <- as.vector(replicate(3, sample(0:1))); k <- length(t)
  x <- matrix(pmax(-2, pmin(2, round(rnorm(3 * k, 0.8 * t - 0.5)))), k)
  if (i %% 3 == 0) x[, 3] <- NA
  if (i %% 6 == 0) x[, 1] <- NA
  data.frame(trial = sprintf("t%02d", i), cycle = rep(1:3, each = 2), period = seq_len(k), treatment = t, g1 = x[, 1], g2 = x[, 2], g3 = x[, 3],
             w1 = sample(1:5, 1), w2 = sample(1:5, 1) / 4, w3 = sample(1:5, 1), mcid = sample(c(0.25, 0.5, 1, 1.5), 1)) }))
d$g2[sample(nrow(d), 8)] <- NA
write.csv(d, "goals.csv", row.names = FALSE, quote = FALSE, na = "")
cases <- list()
add <- function(name, yaml, term, expected) cases[[length(cases) + 1]] <<- list(name = name, yaml = yaml, term = term, expected = expected)
x <- as.matrix(d[, c("g1", "g2", "g3")]); w <- as.matrix(d[, c("w1", "w2", "w3")])
effect <- function(y) { e <- d; e$y <- y; differences(e) }
for (rho in c(0.3, 0, 1)) add(paste("gas", rho), paste0("goals: [g1, g2, g3]\\nweights: [w1, w2, w3]\\nrho: ", rho), "treatment", t_rows(effect(gas(d$trial, x, w, rho))$d))
add("gas alike", "goals: [g1, g2, g3]", "treatment", t_rows(effect(gas(d$trial, x, 0 * w + 1))$d))
add("gas numbers", "goals: [g2, g3]\\nweights: [2, 0.5]", "treatment", t_rows(effect(gas(d$trial, x[, 2:3], cbind(rep(2, nrow(d)), 0.5)))$d))
add("gas one", "null_value: 3\\nlevel: 0.9", "treatment", t_rows(effect(50 + 10 * d$g2)$d, 3, 0.9))
e <- effect(d$g2); u <- e$d / d$mcid[match(e$trial, d$trial)]
add("mcid", "form: mcid\\nmcid: [mcid]", "treatment / MCID", t_rows(u))
add("responder", "form: responder\\nmcid: [mcid]\\nbenefit: higher", "responders", share_rows(u > 1 + 1e-9))
cat(json(list(made_by = "make.R", R = R.version.string, cases = cases)), "\n", file = "expected.json")
