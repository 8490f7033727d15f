# SPDX-License-Identifier: GPL-3.0-or-later
# Bayesian hierarchical models by composite Gauss-Legendre rules, slow and independent of lib/stats:
# panels of half an octave in every standard deviation, the first from 0. Sourced by make.R and by
# tests/conformance/random.
rule <- function(n) { # Golub and Welsch
  i <- seq_len(n - 1); b <- i / sqrt(4 * i^2 - 1)
  e <- eigen(rbind(cbind(0, diag(b)), 0) + t(rbind(cbind(0, diag(b)), 0)), symmetric = TRUE)
  list(x = e$values, w = 2 * e$vectors[1, ]^2)
}
panels <- function(breaks, n) {
  g <- rule(n); h <- diff(breaks) / 2; m <- head(breaks, -1) + h
  list(x = as.vector(outer(g$x, h) + rep(m, each = n)), w = as.vector(outer(g$w, h)), n = n, breaks = breaks)
}
log_prior <- function(p, x) {
  s <- p[[2]]
  switch(p[[1]], half_normal = log(2) + dnorm(x, 0, s, TRUE), half_cauchy = log(2) + dcauchy(x, 0, s, TRUE),
         half_t = log(2) + dt(x / s[2], s[1], log = TRUE) - log(s[2]), uniform = ifelse(x <= s, -log(s), -Inf),
         jeffreys = -log(x), fixed = 0 * x)
}
# Breaks for a standard deviation of about s; a uniform prior ends at its bound.
axis <- function(p, s, n, from = -14, to = 14, step = 0.5, zero = TRUE) {
  if (p[[1]] == "fixed") return(list(x = p[[2]], w = 1, n = 1, breaks = NULL))
  b <- c(if (zero) 0, s * 2^seq(from, to, step))
  if (p[[1]] == "uniform") b <- c(b[b < p[[2]] * 0.999], p[[2]])
  panels(b, n)
}
# y, u: effects and relative variances; g: stratum of each. Posterior nodes over (tau, sigma, omega).
two_stage <- function(y, u, ss, df, mu, tau, sigma = list("jeffreys", 1), g = rep(1, length(y)), omega = list("fixed", 0), n = 16, wide = 14) {
  plug <- sigma[[1]] == "plug_in"
  s0 <- sqrt(ss / df); if (plug) sigma <- list("fixed", s0)
  s <- max(sd(y), s0 * sqrt(min(u)), na.rm = TRUE); if (!is.finite(s) || s == 0) s <- mu[2]
  deep <- omega[[1]] != "fixed" # then fewer panels, or there would be too many nodes
  if (tau[[1]] %in% c("half_cauchy", "half_t")) wide <- max(wide, 44) # second moments of heavy tails
  T <- axis(tau, s, n, if (deep) -4 else -14, if (deep) 5 else wide)
  O <- axis(omega, s, n, -4, 5)
  reach <- if (df > 60) 1.5 else if (df > 12) 4 else if (df > 4) 9 else 30
  S <- axis(sigma, if (s0 > 0) s0 else 1, if (deep) 12 else 20, -min(reach, 3), reach, if (df > 60) 0.25 else 0.5, FALSE)
  cell <- split(seq_along(y), list(u, g), drop = TRUE)
  grid <- expand.grid(t = seq_along(T$x), s = seq_along(S$x))
  t2 <- T$x[grid$t]^2; s2 <- S$x[grid$s]^2
  strata <- sort(unique(g)); W <- Y <- matrix(0, nrow(grid), length(strata)); L <- Q <- 0
  for (i in cell) { # weights of a cell, its sums about 0
    w <- 1 / (t2 + s2 * u[i[1]]); k <- match(g[i[1]], strata)
    W[, k] <- W[, k] + w * length(i); Y[, k] <- Y[, k] + w * sum(y[i]); Q <- Q + w * sum(y[i]^2); L <- L - length(i) * log(w)
  }
  base <- -length(y) / 2 * log(2 * pi) - L / 2 - Q / 2 + rowSums(Y^2 / W) / 2 + log(T$w[grid$t]) + log(S$w[grid$s]) +
    log_prior(tau, T$x[grid$t]) + log_prior(sigma, S$x[grid$s])
  if (!plug && sigma[[1]] != "fixed") base <- base - df / 2 * log(2 * pi * s2) - ss / 2 / s2
  m <- Y / W; out <- NULL
  for (o in seq_along(O$x)) {
    o2 <- O$x[o]^2; w <- 1 / (1 / W + o2); P <- 1 / mu[2]^2 + rowSums(w); M <- (mu[1] / mu[2]^2 + rowSums(w * m)) / P
    f <- base + log(O$w[o]) + log_prior(omega, O$x[o]) - rowSums(log1p(W * o2)) / 2 - log(P * mu[2]^2) / 2 -
      (M - mu[1])^2 / mu[2]^2 / 2 - rowSums(w * (m - M)^2) / 2
    moment <- 2 * log(pmax(1, T$x[grid$t] / s)) + 2 * log(pmax(1, S$x[grid$s] / max(s0, 1e-300)))
    keep <- f + moment > max(f, out$f) - 40
    one <- list(f = f[keep], t = grid$t[keep], s = grid$s[keep], o = rep(o, sum(keep)), m = M[keep], v = 1 / P[keep], b = (1 / (1 + W * o2))[keep, , drop = FALSE], e = m[keep, , drop = FALSE])
    out <- if (is.null(out)) one else Map(function(a, b) if (is.matrix(a)) rbind(a, b) else c(a, b), out, one)
  }
  top <- max(out$f); p <- exp(out$f - top); z <- sum(p)
  list(p = p / z, evidence = top + log(z), m = out$m, v = out$v, tau = T$x[out$t], sigma = S$x[out$s], omega = O$x[out$o],
       t = out$t, T = T, b = out$b, e = out$e, strata = strata)
}
moments <- function(p, x) { m <- sum(p * x); c(m, sqrt(sum(p * (x - m)^2))) }
mixture <- function(p, m, v, probs) {
  a <- sum(p * m); s <- sqrt(sum(p * (v + (m - a)^2)))
  q <- sapply(probs, function(c) uniroot(function(x) sum(p * pnorm(x, m, sqrt(v))) - c, a + c(-1, 1) * 3 * s, extendInt = "upX", tol = 1e-13 * s)$root)
  c(a, s, q)
}
# Quantiles of tau: whole panels, and a rule on part of the panel, its density by interpolation.
tau_quantile <- function(r, prob) {
  if (is.null(r$T$breaks)) return(r$T$x)
  d <- rep(0, length(r$T$x)); x <- tapply(r$p, r$t, sum); d[as.integer(names(x))] <- x
  n <- r$T$n; below <- c(0, cumsum(colSums(matrix(d, n)))); j <- max(which(below <= prob)); j <- min(j, length(below) - 1)
  i <- (j - 1) * n + 1:n; x <- r$T$x[i]; f <- d[i] / r$T$w[i]; a <- r$T$breaks[j]; b <- r$T$breaks[j + 1]
  z <- 2 * (x - a) / (b - a) - 1; bw <- sapply(seq_along(z), function(k) 1 / prod((z[k] - z[-k])))
  at <- function(q) { w <- bw / (q - z); if (any(q == z)) f[q == z] else sum(w * f) / sum(w) }
  g <- rule(24)
  part <- function(t) { y <- a + (t - a) * (g$x + 1) / 2; sum(g$w * sapply(2 * (y - a) / (b - a) - 1, at)) * (t - a) / 2 }
  uniroot(function(t) below[j] + part(t) - prob, c(a, b), tol = 1e-14 * b)$root
}
summaries <- function(r, level = 0.95, mcid = 0) {
  h <- (1 - level) / 2; q <- c(0.5, h, 1 - h); w <- r$v + r$tau^2 + if (is.null(r$omega)) 0 else r$omega^2 # a patient of a new stratum
  out <- list(evidence = r$evidence, mu = mixture(r$p, r$m, r$v, q), "next" = mixture(r$p, r$m, w, q),
    tau = c(moments(r$p, r$tau), sapply(q, function(c) tau_quantile(r, c))), sigma = moments(r$p, r$sigma),
    above = c(sum(r$p * pnorm(0, r$m, sqrt(r$v), FALSE)), sum(r$p * pnorm(mcid, r$m, sqrt(r$v), FALSE)), sum(r$p * pnorm(-mcid, r$m, sqrt(r$v)))),
    above_next = c(sum(r$p * pnorm(0, r$m, sqrt(w), FALSE)), sum(r$p * pnorm(mcid, r$m, sqrt(w), FALSE)), sum(r$p * pnorm(-mcid, r$m, sqrt(w)))))
  if (length(r$strata) > 1) {
    out$omega <- moments(r$p, r$omega)
    out$strata <- lapply(seq_along(r$strata), function(k) { b <- r$b[, k]
      mixture(r$p, b * r$m + (1 - b) * r$e[, k], b * r$omega^2 + b^2 * r$v, q) })
  }
  out
}
# Rows of complete trials to the one-stage posterior (1 + treatment | trial); n nodes a panel.
one_stage <- function(d, mu, tau, sigma, intercept, level, eta = 1, n = 12) {
  d$g <- paste(ave(d$treatment == 0, d$trial, FUN = sum), ave(d$treatment == 1, d$trial, FUN = sum))
  rows <- split(d, d$trial)
  b <- t(sapply(rows, function(x) c(mean(x$y[x$treatment == 0]), mean(x$y[x$treatment == 1]) - mean(x$y[x$treatment == 0]), sum(x$treatment == 0), sum(x$treatment == 1))))
  ss <- sum(sapply(rows, function(x) sum((x$y - ave(x$y, x$treatment))^2))); df <- nrow(d) - 2 * nrow(b); s0 <- sqrt(ss / df)
  reach <- if (df > 60) 1 else 3
  T <- axis(tau, max(sd(b[, 2]), s0 / 3), n, -5, 4, 1); L <- axis(level, max(sd(b[, 1]), s0 / 3), n, -5, 5, 1)
  S <- axis(sigma, s0, 12, -min(reach, 1.5), reach, 0.5, FALSE); R <- panels(c(-1, 0, 1), 18)
  grid <- expand.grid(t = seq_along(T$x), l = seq_along(L$x), r = seq_along(R$x)); out <- list(); top <- -Inf
  p0 <- 1 / c(intercept[2], mu[2])^2; m0 <- c(intercept[1], mu[1])
  for (k in seq_along(S$x)) {
    s2 <- S$x[k]^2; t <- T$x[grid$t]; l <- L$x[grid$l]; r <- R$x[grid$r]
    P11 <- P22 <- 0; P12 <- 0; h1 <- h2 <- 0; f <- -sum(p0 * m0^2) / 2 + log(prod(p0)) / 2
    P11 <- P11 + p0[1]; P22 <- P22 + p0[2]; h1 <- h1 + p0[1] * m0[1]; h2 <- h2 + p0[2] * m0[2]
    for (i in split(seq_len(nrow(b)), paste(b[, 3], b[, 4]))) {
      a <- s2 / b[i[1], 3]; c <- s2 / b[i[1], 4]; n1 <- length(i)
      A <- l^2 + a; B <- r * l * t - a; C <- t^2 + a + c; D <- A * C - B^2
      x <- b[i, 1]; y <- b[i, 2]
      f <- f - n1 * (log(2 * pi) + log(D) / 2 + log(b[i[1], 3] * b[i[1], 4]) / 2) - (C * sum(x^2) - 2 * B * sum(x * y) + A * sum(y^2)) / D / 2
      P11 <- P11 + n1 * C / D; P12 <- P12 - n1 * B / D; P22 <- P22 + n1 * A / D
      h1 <- h1 + (C * sum(x) - B * sum(y)) / D; h2 <- h2 + (A * sum(y) - B * sum(x)) / D
    }
    det <- P11 * P22 - P12^2; e <- (P11 * h2 - P12 * h1) / det; al <- (P22 * h1 - P12 * h2) / det
    f <- f - log(det) / 2 + (al * h1 + e * h2) / 2 - df / 2 * log(2 * pi * s2) - ss / 2 / s2 + log(S$w[k] * T$w[grid$t] * L$w[grid$l] * R$w[grid$r]) +
      log_prior(tau, t) + log_prior(sigma, S$x[k]) + log_prior(level, l) + dbeta((1 + r) / 2, eta, eta, log = TRUE) - log(2)
    top <- max(top, f); keep <- f > top - 32
    out[[k]] <- list(f = f[keep], t = grid$t[keep], tau = t[keep], sigma = rep(S$x[k], sum(keep)), l = l[keep], r = r[keep], m = e[keep], v = (P11 / det)[keep])
  }
  out <- do.call(Map, base::c(list(base::c), out)); p <- exp(out$f - top); z <- sum(p)
  list(p = p / z, evidence = top + log(z), m = out$m, v = out$v, tau = out$tau, sigma = out$sigma, t = out$t, T = T, strata = 1, level = out$l, r = out$r)
}
