# SPDX-License-Identifier: GPL-3.0-or-later
# Constants of tests/conformance/test_monitor.c: Lan-DeMets boundaries by recursive integration with
# Simpson's rule on the z scale (the program integrates Brownian motion by Gauss-Legendre panels),
# and e-values with confidence sequences by uniroot on the data's differences. Base R only.
# Run in this folder: Rscript make.R
RNGkind("Mersenne-Twister", "Inversion", "Rejection")
number <- function(x) if (length(x) == 0 || is.na(x) || !is.finite(x)) "null" else sprintf("%.17g", x)
json <- function(x) {
  if (is.list(x)) {
    if (is.null(names(x))) return(paste0("[", paste(vapply(x, json, ""), collapse = ",\n"), "]"))
    return(paste0("{", paste0("\"", names(x), "\": ", vapply(x, json, ""), collapse = ", "), "}"))
  }
  if (is.character(x)) return(paste0("\"", x, "\""))
  if (length(x) != 1) return(paste0("[", paste(vapply(x, number, ""), collapse = ", "), "]"))
  number(x)
}
spent <- function(type, alpha, t) if (type == "pocock") alpha * log(1 + (exp(1) - 1) * t) else
  4 * pnorm(qnorm(alpha / 4, lower.tail = FALSE) / sqrt(t), lower.tail = FALSE)
boundaries <- function(type, alpha, t, m = 6000) {
  b <- numeric(length(t)); s <- diff(c(0, vapply(t, function(x) spent(type, alpha, x), 0)))
  b[1] <- qnorm(s[1] / 2, lower.tail = FALSE); z <- w <- f <- NULL
  w <- c(1, rep(c(4, 2), (m - 2) / 2), 4, 1) / 3
  for (k in seq_along(t)[-1]) {
    h <- 2 * min(b[k - 1], 9) / m; zz <- -min(b[k - 1], 9) + h * (0:m); d <- sqrt(t[k] - t[k - 1])
    f <- if (k == 2) dnorm(zz) else vapply(zz, function(x) sum(g * dnorm((x * sqrt(t[k - 1]) - z * sqrt(t[k - 2])) / e)), 0) * sqrt(t[k - 1]) / e
    g <- f * w * h; z <- zz; e <- d
    up <- function(c) sum(g * pnorm((c * sqrt(t[k]) - z * sqrt(t[k - 1])) / d, lower.tail = FALSE)) / (s[k] / 2) - 1
    b[k] <- uniroot(up, c(0.1, 12), tol = 1e-15, maxiter = 1000)$root
  }
  b
}
designs <- list(list("obrien_fleming", 0.05, c(.2, .4, .6, .8, 1)), list("pocock", 0.05, c(.2, .4, .6, .8, 1)),
                list("obrien_fleming", 0.01, c(.3, .7, 1)), list("pocock", 0.1, c(.05, .11, .5, .93, 1)),
                list("obrien_fleming", 0.05, 1), list("pocock", 0.05, c(.5)), list("obrien_fleming", 0.05, c(.5, .51, .53)))
bounds <- lapply(designs, function(d) list(type = d[[1]], alpha = d[[2]], t = as.list(d[[3]]), spent = as.list(vapply(d[[3]], function(x) spent(d[[1]], d[[2]], x), 0)),
                                           bound = as.list(boundaries(d[[1]], d[[2]], d[[3]]))))
save_csv <- function(d, name) { d$y <- ifelse(is.na(d$y), "", sprintf("%.17g", d$y)); write.csv(d, name, row.names = FALSE, quote = FALSE, na = "") }
differences <- function(d) {
  d <- d[!is.na(d$y), ]; p <- aggregate(y ~ trial + cycle + period + treatment, d, mean)
  unlist(lapply(split(p, list(p$trial, p$cycle), drop = TRUE), function(x)
    if (length(unique(x$treatment)) == 2) mean(x$y[x$treatment == 1]) - mean(x$y[x$treatment == 0])))
}
look <- function(name, file, d, rho, alpha, range, centre = 0, earlier = numeric(0), type = "obrien_fleming", planned = 100) {
  d$y <- d$y - centre; x <- differences(d); n <- length(x); S <- sum(x); V <- sum(x^2)
  logE <- function(delta) { s <- S - n * delta; v <- sum((x - delta)^2); 0.5 * log(rho / (v + rho)) + s^2 / (2 * (v + rho)) }
  end <- function(to) if (logE(to) <= -log(alpha)) NA else uniroot(function(q) logE(q) + log(alpha), sort(c(mean(x), to)), tol = 1e-15, maxiter = 1000)$root
  t <- c(earlier, min(1, n / planned)); b <- rev(boundaries(type, alpha, t))[1]
  out <- function(delta) abs(S - n * delta) / sqrt(sum((x - delta)^2)) - b
  inv <- function(to) if (n <= b^2 || out(to) <= 0) NA else uniroot(out, sort(c(mean(x), to)), tol = 1e-15, maxiter = 1000)$root
  list(name = name, file = file, rho = rho, alpha = alpha, centre = centre, looks = as.list(earlier), boundary = type, planned = planned,
       range = range, n = n, estimate = mean(x), se = sqrt(V) / n, z = S / sqrt(V), log_e = logE(0), low = end(-range), high = end(range),
       fraction = rev(t)[1], bound = b, inv_low = inv(mean(x) - 100 * sd(x)), inv_high = inv(mean(x) + 100 * sd(x)))
}
set.seed(11)
series <- function(n, effect, sd) do.call(rbind, lapply(seq_len(n), function(i) { k <- 2 + i %% 2; t <- as.vector(replicate(k, sample(0:1)))
  data.frame(trial = sprintf("t%02d", i), cycle = rep(seq_len(k), each = 4), period = rep(seq_len(2 * k), each = 2), treatment = rep(t, each = 2),
             y = rnorm(1, 5, 2) + rep(t, each = 2) * rnorm(1, effect, 1) + rnorm(4 * k, 0, sd)) }))
a <- series(20, 1, 1.5); a$y[runif(nrow(a)) < 0.15] <- NA; save_csv(a, "series.csv")
n <- series(12, 0, 1); save_csv(n, "none.csv")
o <- a; o$y <- o$y / 8 + 1e8; save_csv(o, "offset.csv")
s <- data.frame(trial = sprintf("p%02d", sleep$ID), cycle = 1, period = as.integer(sleep$group), treatment = as.integer(sleep$group) - 1, y = sleep$extra)
s <- s[order(s$trial, s$period), ]; save_csv(s, "sleep.csv")
w <- n[n$trial %in% c("t01", "t02"), ]; save_csv(w, "two.csv")
r <- function(d) diff(range(d$y, na.rm = TRUE))
cat(json(list(made_by = "make.R", R = R.version.string, bounds = bounds, looks = list(
  look("series", "series.csv", a, 10, 0.05, r(a), earlier = c(.2, .3)), look("series pocock", "series.csv", a, 3, 0.1, r(a), earlier = c(.1), type = "pocock", planned = 49),
  look("none", "none.csv", n, 5, 0.05, r(n)), look("offset", "offset.csv", o, 0.2, 0.05, r(o), centre = 1e8),
  look("sleep", "sleep.csv", s, 8, 0.05, r(s), planned = 10), look("two", "two.csv", w, 1, 0.05, r(w), planned = 20)))), "\n", file = "expected.json")
