# SPDX-License-Identifier: GPL-3.0-or-later
# Makes the data and constants of tests/conformance/test_descriptive.c with base R: mean, sd, hist,
# and linear interpolation of the cumulative histogram. Run in this folder: Rscript make.R
RNGkind("Mersenne-Twister", "Inversion", "Rejection")
number <- function(x) if (length(x) == 0 || is.na(x) || !is.finite(x)) "null" else sprintf("%.17g", x)
json <- function(x) {
  if (is.list(x)) {
    if (is.null(names(x))) return(paste0("[", paste(vapply(x, json, ""), collapse = ",\n"), "]"))
    return(paste0("{", paste0("\"", names(x), "\": ", vapply(x, json, ""), collapse = ", "), "}"))
  }
  if (is.character(x)) return(paste0("\"", x, "\""))
  if (length(x) > 1) return(paste0("[", paste(vapply(x, number, ""), collapse = ", "), "]"))
  number(x)
}
cell <- function(d) {
  y <- d$y[!is.na(d$y)]
  list(rows = length(y), trials = length(unique(d$trial[!is.na(d$y)])), missing = sum(is.na(d$y)),
       mean = if (length(y)) mean(y) else NA, sd = sd(y))
}
quartiles <- function(counts, breaks) {
  p <- c(0, cumsum(counts)) / sum(counts)
  vapply(c(.25, .5, .75), function(q) { # the first bin that reaches q
    b <- which(p[-1] >= q - 1e-15 & counts > 0)[1]
    breaks[b] + (q - p[b]) / (p[b + 1] - p[b]) * (breaks[b + 1] - breaks[b])
  }, 0)
}
describe <- function(name, file, d, lower, upper, bins, centre) {
  breaks <- seq(lower, upper, length.out = bins + 1)
  h <- lapply(0:1, function(a) hist(d$y[d$treatment == a & !is.na(d$y)], breaks = breaks, plot = FALSE)$counts)
  o <- d[!is.na(d$y), ]
  o$y <- o$y - centre # a mean near 1e8 would itself be off by 1e-9 of the difference
  per <- aggregate(y ~ trial + period + treatment, o, mean)
  both <- intersect(per$trial[per$treatment == 0], per$trial[per$treatment == 1])
  diff <- vapply(both, function(t) mean(per$y[per$trial == t & per$treatment == 1]) - mean(per$y[per$trial == t & per$treatment == 0]), 0)
  list(name = name, file = file, lower = lower, upper = upper, bins = bins, centre = centre, all = cell(d),
       arm = lapply(0:1, function(a) cell(d[d$treatment == a, ])),
       period = lapply(sort(unique(d$period)), function(p) c(list(level = p), cell(d[d$period == p, ]))),
       difference = list(trials = length(diff), mean = mean(diff), sd = sd(diff)),
       counts = h, quartiles = lapply(list(h[[1]] + h[[2]], h[[1]], h[[2]]), quartiles, breaks = breaks))
}
save_csv <- function(d, name) {
  d$y <- ifelse(is.na(d$y), "", sprintf("%.17g", d$y))
  write.csv(d, name, row.names = FALSE, quote = FALSE, na = "")
}

# Student 1908 (datasets::sleep): one cycle of two drugs in ten patients.
s <- data.frame(trial = sprintf("p%02d", sleep$ID), cycle = 1, period = as.integer(sleep$group),
                treatment = as.integer(sleep$group) - 1, y = sleep$extra)
s <- s[order(s$trial, s$period), ]
save_csv(s, "sleep.csv")

set.seed(5)
n <- 24
d <- do.call(rbind, lapply(seq_len(n), function(i) {
  k <- 2 + i %% 3
  t <- as.vector(replicate(k, sample(0:1)))
  e <- rnorm(1, 1, 1); a <- rnorm(1, 5, 1)
  data.frame(trial = sprintf("t%02d", i), cycle = rep(seq_len(k), each = 6), period = rep(seq_len(2 * k), each = 3),
             treatment = rep(t, each = 3), y = pmin(10, pmax(0, round(a + e * rep(t, each = 3) + rnorm(6 * k, 0, 1.5)))))
}))
d$y[runif(nrow(d)) < 0.12] <- NA
save_csv(d, "scale.csv")

o <- d
o$y <- o$y / 8 + 1e8
save_csv(o, "offset.csv")

cat(json(list(made_by = "make.R", R = R.version.string, cases = list(
  describe("sleep", "sleep.csv", s, -5, 10, 10, 0),
  describe("scale", "scale.csv", d, 0, 10, 10, 5),
  describe("scale by steps", "scale.csv", d, -0.5, 10.5, 11, 5),
  describe("offset", "offset.csv", o, 1e8, 1e8 + 2, 8, 1e8)))), "\n", file = "expected.json")
