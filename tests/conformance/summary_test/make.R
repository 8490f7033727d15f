# SPDX-License-Identifier: GPL-3.0-or-later
# Makes the data and constants of tests/conformance/test_summary_test.c with base R: t.test on one
# difference a trial, paired t over cycles, binom.test. Run in this folder: Rscript make.R
RNGkind("Mersenne-Twister", "Inversion", "Rejection")
source("reference.R")
source("json.R")
save_csv <- function(d, name) { d$y <- ifelse(is.na(d$y), "", sprintf("%.17g", d$y)); write.csv(d, name, row.names = FALSE, quote = FALSE, na = "") }
cases <- list()
add <- function(name, file, yaml, term, expected) cases[[length(cases) + 1]] <<- list(name = name, file = file, yaml = yaml, term = term, expected = expected)
scaled <- function(w, s) list(estimate = w$estimate / s, std.error = w$std.error / s, conf.low = w$conf.low / s, conf.high = w$conf.high / s)
describe <- function(name, d, sd, mcid, level = 0) {
  file <- paste0(name, ".csv"); save_csv(d, file); d$y <- d$y - level # R's own means lose digits to a large level
  for (by in c("periods", "cycles")) {
    e <- differences(d, by); w <- t_rows(e$d); o <- sprintf("difference: %s\\n", by)
    add(paste(name, by), file, o, "treatment", w)
    add(paste(name, by, "charter"), file, paste0(o, "standardise: charter\\ncharter: {sd_within: ", sd, "}"), "treatment / sd within", scaled(w, sd))
    if (e$ss > 0) add(paste(name, by, "within"), file, paste0(o, "standardise: within"), "treatment / sd within", scaled(w, sqrt(e$ss / e$df / if (by == "cycles") 2 else 1)))
    add(paste(name, by, "null"), file, paste0(o, "null_value: -0.5\\nlevel: 0.8"), "treatment", t_rows(e$d, -0.5, 0.8))
    for (b in c(1, -1)) add(paste(name, by, "responder", b), file, paste0(o, "form: responder\\nmcid: ", mcid, "\\nlevel: 0.9\\nbenefit: ", if (b > 0) "higher" else "lower"),
                            "responders", share_rows(b * e$d - mcid > 1e-9, 0.9))
  }
  add(paste(name, "paired"), file, "form: paired", "treatment", t_rows(differences(d, "cycles")$all))
}
# Student 1908 (datasets::sleep): one cycle of two drugs in ten patients.
s <- data.frame(trial = sprintf("p%02d", sleep$ID), cycle = 1, period = as.integer(sleep$group), treatment = as.integer(sleep$group) - 1, y = sleep$extra)
describe("sleep", s[order(s$trial, s$period), ], 1.5, 1)
set.seed(11)
d <- do.call(rbind, lapply(1:24, function(i) { k <- 2 + i %% 3; t <- as.vector(replicate(k, sample(0:1))); e <- rnorm(1, 1); a <- rnorm(1, 5)
  data.frame(trial = sprintf("t%02d", i), cycle = rep(seq_len(k), each = 4), period = rep(seq_len(2 * k), each = 2), treatment = rep(t, each = 2),
             y = round(a + e * rep(t, each = 2) + rnorm(4 * k), 1)) }))
d$y[runif(nrow(d)) < 0.2] <- NA
describe("missing", d, 1, 0.5)
o <- d; o$y <- o$y / 8 + 1e6 # a large level costs no digit of the effect
describe("offset", o, 0.125, 0.0625, 1e6)
cat(json(list(made_by = "make.R", R = R.version.string, cases = cases)), "\n", file = "expected.json")
