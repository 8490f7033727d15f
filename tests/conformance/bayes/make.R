# SPDX-License-Identifier: GPL-3.0-or-later
# Makes the data and constants of tests/conformance/test_bayes.c: posteriors by composite
# Gauss-Legendre rules (reference.R), and Markov chains by rjags. Run in this folder: Rscript make.R
suppressPackageStartupMessages({ library(jsonlite); library(rjags) })
source("reference.R")
RNGkind("Mersenne-Twister", "Inversion", "Rejection")
simulate <- function(seed, k, cycles, tau, sd, lost = 0, mu = -4, sd0 = 8) {
  set.seed(seed)
  d <- do.call(rbind, lapply(seq_len(k), function(i) {
    c <- if (length(cycles) > 1) sample(cycles, 1) else cycles; e <- rnorm(1, mu, tau); b <- rnorm(1, 50, sd0)
    do.call(rbind, lapply(seq_len(c), function(j) { a <- sample(0:1)
      data.frame(trial = sprintf("t%03d", i), cycle = j, period = 2 * j - 1:0, treatment = a, y = round(b + e * a + rnorm(2, 0, sd), 2), stratum = letters[1 + i %% 3]) }))
  }))
  if (lost > 0) d$y[runif(nrow(d)) < lost] <- NA
  d
}
machines <- function() { # Pinheiro & Bates 2000: six workers, machines A and B, three scores each
  d <- as.data.frame(nlme::Machines); d <- d[d$Machine != "C", ]; d <- d[order(as.character(d$Worker)), ]
  data.frame(trial = paste0("w", d$Worker), cycle = rep(1:3, 12), period = ave(seq_len(36), d$Worker, FUN = seq_along),
             treatment = as.integer(d$Machine == "B"), y = d$score, stratum = "a")
}
effects <- function(d, form) {
  d <- d[!is.na(d$y), ]
  e <- lapply(split(d, d$trial), function(x) if (form == "cycles") {
    c <- unlist(lapply(split(x, x$cycle), function(z) mean(z$y[z$treatment == 1]) - mean(z$y[z$treatment == 0]))); c <- c[is.finite(c)]
    if (length(c)) data.frame(y = mean(c), u = 1 / length(c), ss = sum((c - mean(c))^2), df = length(c) - 1, g = x$stratum[1])
  } else { A <- x$y[x$treatment == 0]; B <- x$y[x$treatment == 1]
    if (length(A) && length(B)) data.frame(y = mean(B) - mean(A), u = 1 / length(A) + 1 / length(B), ss = sum((A - mean(A))^2) + sum((B - mean(B))^2), df = length(A) + length(B) - 2, g = x$stratum[1]) })
  do.call(rbind, e)
}
data <- list(complete = simulate(1, 12, 3, 3, 6), missing = simulate(2, 24, 2:4, 4, 6, 0.15), one = simulate(3, 1, 4, 3, 6),
             two = simulate(4, 2, 2, 3, 6), null = simulate(5, 16, 3, 0, 6), many = simulate(6, 300, 3, 3, 6), machines = machines())
for (n in names(data)) write.csv(data[[n]], paste0(n, ".csv"), row.names = FALSE, quote = FALSE, na = "")
hn <- function(s) list("half_normal", s); hc <- function(s) list("half_cauchy", s); ht <- function(d, s) list("half_t", c(d, s)); un <- function(s) list("uniform", s)
jeffreys <- list("jeffreys", 1); plug <- list("plug_in", 1); fixed <- function(x) list("fixed", x)
text_of <- function(p) if (p[[1]] %in% c("jeffreys", "plug_in")) p[[1]] else sprintf("{%s: %s}", p[[1]], if (length(p[[2]]) > 1) paste0("[", paste(p[[2]], collapse = ", "), "]") else p[[2]])
jags <- function(e, mu, tau, sigma) {
  d <- function(p, name) switch(p[[1]], half_normal = sprintf("%s ~ dnorm(0, 1/%g^2)T(0,)", name, p[[2]]), half_cauchy = sprintf("%s ~ dt(0, 1/%g^2, 1)T(0,)", name, p[[2]]))
  model <- sprintf("model { for (i in 1:k) { y[i] ~ dnorm(th[i], 1/(s^2*u[i])); th[i] ~ dnorm(mu, 1/t^2) }\nss ~ dgamma(df/2, 1/(2*s^2))\nmu ~ dnorm(%g, 1/%g^2)\n%s\n%s\nnew ~ dnorm(mu, 1/t^2) }", mu[1], mu[2], d(tau, "t"), d(sigma, "s"))
  m <- jags.model(textConnection(model), list(y = e$y, u = e$u, k = nrow(e), ss = sum(e$ss), df = sum(e$df)), n.chains = 4, quiet = TRUE,
                  inits = lapply(1:4, function(c) list(.RNG.name = "base::Mersenne-Twister", .RNG.seed = c)))
  update(m, 4000, progress.bar = "none")
  s <- coda.samples(m, c("mu", "t", "s", "new"), 60000, progress.bar = "none")
  stopifnot(max(gelman.diag(s)$psrf[, 1]) < 1.01)
  x <- as.matrix(s); se <- summary(s)$statistics[, "Time-series SE"]
  setNames(lapply(c("mu", "new", "t", "s"), function(v) c(mean(x[, v]), se[v])), c("mu", "next", "tau", "sigma"))
}
cases <- list(
  list("complete", "cycles", c(0, 10), hn(5), jeffreys), list("complete", "cycles", c(0, 10), hc(5), hn(20), chain = TRUE), list("complete", "pool", c(0, 10), ht(4, 5), hc(10)),
  list("complete", "cycles", c(2, 3), un(20), plug), list("complete", "cycles", c(0, 100), fixed(2), jeffreys), list("complete", "cycles", c(0, 10), fixed(0), jeffreys),
  list("missing", "pool", c(0, 10), hn(5), jeffreys), list("missing", "cycles", c(0, 10), hn(5), hn(10), chain = TRUE), list("missing", "pool", c(0, 10), hc(2.5), jeffreys),
  list("one", "cycles", c(0, 10), hn(5), jeffreys), list("one", "cycles", c(0, 10), un(10), hn(10)), list("two", "cycles", c(0, 10), hn(5), jeffreys), list("two", "pool", c(0, 10), hc(5), hn(10), chain = TRUE),
  list("null", "cycles", c(0, 10), hn(5), jeffreys), list("null", "cycles", c(0, 10), un(50), jeffreys), list("many", "cycles", c(0, 10), hn(5), jeffreys), list("machines", "pool", c(0, 20), hn(10), jeffreys),
  list("complete", "cycles", c(0, 10), hn(5), plug, omega = hn(5)), list("missing", "pool", c(0, 10), hn(5), plug, omega = un(10)), list("many", "cycles", c(0, 10), hc(5), jeffreys, omega = hn(3)))
two <- lapply(cases, function(c) {
  e <- effects(data[[c[[1]]]], c[[2]]); mu <- c[[3]]; started <- Sys.time()
  r <- two_stage(e$y, e$u, sum(e$ss), sum(e$df), mu, c[[4]], c[[5]], if (is.null(c$omega)) rep(1, nrow(e)) else e$g, if (is.null(c$omega)) fixed(0) else c$omega, n = 12)
  text <- sprintf("priors: {mu: {normal: [%g, %g]}, tau: %s, sigma: %s%s}\nmcid: 2\nincomplete: %s%s", mu[1], mu[2], text_of(c[[4]]), text_of(c[[5]]),
                  if (is.null(c$omega)) "" else paste0(", omega: ", text_of(c$omega)), c[[2]], if (is.null(c$omega)) "" else "\nborrow: stratum")
  out <- c(list(file = paste0(c[[1]], ".csv"), text = text), summaries(r, mcid = 2))
  if (isTRUE(c$chain)) out$chain <- jags(e, mu, c[[4]], c[[5]])
  message(c[[1]], " ", format(Sys.time() - started), " ", paste(sprintf("%.6g", out$mu), collapse = " ")); out
})
one <- lapply(list(list("complete", hn(5), hn(20), 1)), function(c) {
  d <- data[[c[[1]]]]; r <- one_stage(d, c(0, 10), c[[2]], c[[3]], c(50, 30), hn(20), c[[4]])
  out <- c(list(file = paste0(c[[1]], ".csv"), text = sprintf("model: one_stage\npriors: {mu: {normal: [0, 10]}, tau: %s, sigma: %s, intercept: {normal: [50, 30]}, intercept_sd: {half_normal: 20}, correlation: {lkj: %g}}\nmcid: 2", text_of(c[[2]]), text_of(c[[3]]), c[[4]])), summaries(r, mcid = 2))
  out$level <- moments(r$p, r$level); out$correlation <- moments(r$p, r$r); cat("one", c[[1]], sprintf("%.6g", out$mu), "\n"); out
})
write(toJSON(list(R = R.version.string, rjags = as.character(packageVersion("rjags")), jags = as.character(jags.version()), two_stage = two, one_stage = one),
             digits = NA, auto_unbox = TRUE, pretty = TRUE, null = "null"), "expected.json")
