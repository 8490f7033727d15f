# SPDX-License-Identifier: GPL-3.0-or-later
# Base R (t.test, binom.test) on one difference a trial, for a long data frame d with the columns trial,
# cycle, period, treatment (0, 1) and y; goal attainment scores by Kiresuk & Sherman's formula. Used by
# the make.R of summary_test and goal_attainment and by the random comparisons.
period_means <- function(d) aggregate(y ~ trial + cycle + period + treatment, d[!is.na(d$y), ], mean)
differences <- function(d, by = "periods") {
  p <- period_means(d)
  e <- lapply(split(p, p$trial), function(x) {
    if (by == "periods") {
      A <- x$y[x$treatment == 1]; C <- x$y[x$treatment == 0]
      if (!length(A) || !length(C)) return(NULL)
      return(list(d = mean(A) - mean(C), all = mean(A) - mean(C), ss = sum((A - mean(A))^2) + sum((C - mean(C))^2), df = length(A) + length(C) - 2))
    }
    c <- sapply(split(x, x$cycle), function(z) mean(z$y[z$treatment == 1]) - mean(z$y[z$treatment == 0])); c <- unname(c[is.finite(c)])
    if (!length(c)) return(NULL)
    list(d = mean(c), all = c, ss = sum((c - mean(c))^2), df = length(c) - 1)
  })
  e <- Filter(Negate(is.null), e)
  list(trial = names(e), d = vapply(e, `[[`, 0, "d"), all = unlist(lapply(e, `[[`, "all")), ss = sum(vapply(e, `[[`, 0, "ss")), df = sum(vapply(e, `[[`, 0, "df")))
}
t_rows <- function(x, mu = 0, level = 0.95) {
  # the centred data give the same test with all digits
  m <- mean(x); f <- t.test(x - mu, conf.level = level)
  list(estimate = m, std.error = sd(x) / sqrt(length(x)), statistic = unname(f$statistic), df = unname(f$parameter), p.value = f$p.value,
       conf.low = f$conf.int[1] + mu, conf.high = f$conf.int[2] + mu)
}
share_rows <- function(yes, level = 0.95) {
  f <- binom.test(sum(yes), length(yes), conf.level = level)
  list(estimate = mean(yes), conf.low = f$conf.int[1], conf.high = f$conf.int[2])
}
# T of every row; x: matrix of scores, w: matrix of weights, one row each; a column never scored in a trial is no goal
gas <- function(trial, x, w, rho = 0.3) {
  t <- rep(NA_real_, length(trial))
  for (i in unique(trial)) {
    r <- which(trial == i); set <- colSums(!is.na(x[r, , drop = FALSE])) > 0 & !is.na(w[r[1], ]) & w[r[1], ] > 0
    if (!any(set)) next
    v <- w[r[1], set]
    t[r] <- 50 + 10 * drop(x[r, set, drop = FALSE] %*% v) / sqrt((1 - rho) * sum(v^2) + rho * sum(v)^2)
  }
  t
}
