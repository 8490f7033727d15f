# SPDX-License-Identifier: GPL-3.0-or-later
# Constants of tests/conformance/test_randomisation_test.c in base R: p by complete enumeration of all
# signs, the moments' formula, scores standardised over all assignments (complete enumeration).
# Run in this folder: Rscript make.R
RNGkind("Mersenne-Twister", "Inversion", "Rejection")
number <- function(x) if (length(x) == 0 || is.na(x) || !is.finite(x)) "null" else sprintf("%.17g", x)
json <- function(x) {
  if (is.list(x)) {
    if (is.null(names(x))) return(paste0("[", paste(vapply(x, json, ""), collapse = ",\n"), "]"))
    return(paste0("{", paste0("\"", names(x), "\": ", vapply(x, json, ""), collapse = ", "), "}"))
  }
  if (is.character(x)) return(paste0("\"", x, "\""))
  number(x)
}
save_csv <- function(d, name) { d$y <- ifelse(is.na(d$y), "", sprintf("%.17g", d$y)); write.csv(d, name, row.names = FALSE, quote = FALSE, na = "") }
differences <- function(d) {
  d <- d[!is.na(d$y), ]; p <- aggregate(y ~ trial + cycle + period + treatment, d, mean)
  unlist(lapply(split(p, list(p$trial, p$cycle), drop = TRUE), function(x)
    if (length(unique(x$treatment)) == 2) mean(x$y[x$treatment == 1]) - mean(x$y[x$treatment == 0])))
}
tail_p <- function(z, g) if (z >= 0) pnorm(-z) * exp(-g * (z^3 - 3 * z) * dnorm(z) / (12 * pnorm(-z))) else 1 - tail_p(-z, g)
cycles <- function(name, file, d, centre = 0, step = 0) {
  d$y <- d$y - centre; x <- differences(d); n <- length(x); T <- sum(x); V <- sum(x^2); g <- sum(x^4) / V^2
  s <- 0; for (a in x) s <- c(s + a, s - a)
  e <- 1e-9 * sqrt(V); z <- qnorm(0.975); ss <- V - T^2 / n; half <- if (n > z^2) z * sqrt(ss / (n * (n - z^2))) else NA
  p <- function(t, sides) min(1, max(sides * tail_p((t - step) / sqrt(V), g), sides * 2^-n))
  list(name = name, file = file, centre = centre, step = step, n = n, sum = T, estimate = T / n, se = sqrt(V) / n, low = T / n - half, high = T / n + half,
       exact = mean(abs(s) >= abs(T) - e), greater = mean(s >= T - e), less = mean(s <= T + e),
       p_moments = p(abs(T), 2), p_greater = p(T, 1), p_less = p(-T, 1), error = min(1, 0.4 * g^2))
}
phase_score <- function(d) {
  d <- d[!is.na(d$y), ]; p <- aggregate(y ~ period + treatment, d, mean); m <- nrow(p); k <- sum(p$treatment == 1)
  stat <- function(on) mean(p$y[on]) - mean(p$y[-on])
  all <- combn(m, k, stat); v <- mean(all^2) - mean(all)^2
  if (v > 1e-20) stat(which(p$treatment == 1)) / sqrt(v) else 0
}
start_score <- function(d, least) {
  d <- d[!is.na(d$y), ]; n <- nrow(d); first <- which(d$treatment == 1)[1]
  if (is.na(first) || any(d$treatment[first:n] == 0) || first - 1 < least || n - first + 1 < least || n <= 2 * least) return(NA)
  stat <- function(at) mean(d$y[at:n]) - mean(d$y[1:(at - 1)])
  all <- vapply((least + 1):(n - least + 1), stat, 0); v <- mean((all - mean(all))^2)
  if (v > 0) (stat(first) - mean(all)) / sqrt(v) else 0
}
scores <- function(name, file, d, design, least = 3) {
  z <- vapply(split(d, d$trial), function(x) if (design == "phases") phase_score(x) else start_score(x, least), 0); z <- z[!is.na(z)]
  list(name = name, file = file, design = design, least = least, n = length(z), sum = sum(z), z = sum(z) / sqrt(length(z)), p = 2 * pnorm(-abs(sum(z)) / sqrt(length(z))))
}
set.seed(21)
series <- function(n, effect, sd, k = 1 + seq_len(n) %% 2, obs = 2) do.call(rbind, lapply(seq_len(n), function(i) { t <- as.vector(replicate(k[i], sample(0:1)))
  data.frame(trial = sprintf("t%02d", i), cycle = rep(seq_len(k[i]), each = 2 * obs), period = rep(seq_len(2 * k[i]), each = obs), treatment = rep(t, each = obs),
             y = rnorm(1, 5, 2) + rep(t, each = obs) * rnorm(1, effect, 1) + rnorm(2 * obs * k[i], 0, sd)) }))
a <- series(12, 0.5, 1.5); a$y[runif(nrow(a)) < 0.1] <- NA; save_csv(a, "series.csv")
b <- series(6, 0, 1); save_csv(b, "few.csv")
i <- series(14, 0.8, 1.2, rep(1, 14), 1); i$y <- round(i$y); save_csv(i, "integers.csv")
o <- a; o$y <- o$y / 8 + 1e8; save_csv(o, "offset.csv")
s <- data.frame(trial = sprintf("p%02d", sleep$ID), cycle = 1, period = as.integer(sleep$group), treatment = as.integer(sleep$group) - 1, y = sleep$extra)
s <- s[order(s$trial, s$period), ]; save_csv(s, "sleep.csv")
h <- series(14, 3, 1, rep(1, 14)); save_csv(h, "large.csv")
ab <- do.call(rbind, lapply(1:15, function(i) { n <- 10 + i; k <- sample(3:(n - 3), 1); if (i == 4) k <- 1
  data.frame(trial = sprintf("t%02d", i), cycle = "", period = seq_len(n), treatment = as.integer(seq_len(n) > k), y = rnorm(1, 5, 2) + 0.7 * (seq_len(n) > k) + rnorm(n)) }))
ab$y[c(20, 60)] <- NA; ab$y[ab$trial == "t07"] <- 4; save_csv(ab, "start.csv")
cat(json(list(made_by = "make.R", R = R.version.string,
  cycles = list(cycles("series", "series.csv", a), cycles("few", "few.csv", b), cycles("integers", "integers.csv", i, step = 1),
                cycles("offset", "offset.csv", o, centre = 1e8), cycles("sleep", "sleep.csv", s), cycles("large", "large.csv", h)),
  scores = list(scores("phases", "series.csv", a, "phases"), scores("phases few", "few.csv", b, "phases"), scores("phases sleep", "sleep.csv", s, "phases"),
                scores("start", "start.csv", ab, "start"), scores("start least 5", "start.csv", ab, "start", 5)))), "\n", file = "expected.json")
