# SPDX-License-Identifier: GPL-3.0-or-later
# The exact optimum of a mixed model with correlated residuals, on dense matrices by Newton steps.
# exact optimum: V = Z G Z' + s2 R(rho); theta = lower triangle of G, s2, rho
exact <- function(d, X, Z, serial, reml, theta) {
  q <- ncol(Z); low <- which(lower.tri(diag(q), TRUE), arr.ind = TRUE); low <- low[order(low[, 1], low[, 2]), , drop = FALSE]
  if (q == 0) low <- low[0, , drop = FALSE]
  ids <- split(seq_len(nrow(d)), d$trial)
  eval1 <- function(th) {
    G <- matrix(0, q, q); for (k in seq_len(nrow(low))) G[low[k, 1], low[k, 2]] <- G[low[k, 2], low[k, 1]] <- th[k]
    m <- nrow(low); s2 <- th[m + 1]; rho <- if (serial) th[m + 2] else 0
    parts <- lapply(ids, function(i) {
      D <- abs(outer(d$time[i], d$time[i], "-")); R <- if (serial) rho^D else diag(length(i))
      z <- Z[i, , drop = FALSE]; V <- z %*% G %*% t(z) + s2 * R
      dV <- lapply(seq_len(m), function(k) { E <- matrix(0, q, q); E[low[k, 1], low[k, 2]] <- E[low[k, 2], low[k, 1]] <- 1; z %*% E %*% t(z) })
      dV <- c(dV, list(R)); if (serial) dV <- c(dV, list(s2 * ifelse(D == 0, 0, D * rho^(D - 1))))
      ch <- chol(V); list(W = chol2inv(ch), ld = 2 * sum(log(diag(ch))), dV = dV, i = i) })
    C <- Reduce(`+`, lapply(parts, function(p) crossprod(X[p$i, , drop = FALSE], p$W %*% X[p$i, , drop = FALSE])))
    b <- solve(C, Reduce(`+`, lapply(parts, function(p) crossprod(X[p$i, , drop = FALSE], p$W %*% d$y[p$i]))))
    r <- d$y - X %*% b; N <- nrow(d); p0 <- ncol(X)
    f <- sum(sapply(parts, `[[`, "ld")) + sum(sapply(parts, function(p) sum(r[p$i] * (p$W %*% r[p$i])))) + (N - reml * p0) * log(2 * pi)
    if (reml) f <- f + as.numeric(determinant(C)$modulus)
    Ci <- solve(C)
    g <- sapply(seq_along(th), function(k) sum(sapply(parts, function(p) {
      WD <- p$W %*% p$dV[[k]]; u <- p$W %*% r[p$i]; x <- X[p$i, , drop = FALSE]
      sum(diag(WD)) - sum(u * (p$dV[[k]] %*% u)) - reml * sum(diag(Ci %*% crossprod(x, WD %*% p$W %*% x))) })))
    list(f = f, g = g, b = drop(b), se = sqrt(diag(Ci))) }
  for (it in 1:30) {
    e <- eval1(theta); h <- 1e-5 * pmax(abs(theta), 1e-2)
    H <- sapply(seq_along(theta), function(k) { u <- theta; u[k] <- u[k] + h[k]; w <- theta; w[k] <- w[k] - h[k]; (eval1(u)$g - eval1(w)$g) / (2 * h[k]) })
    step <- solve((H + t(H)) / 2, e$g); theta <- theta - step
    if (sum(step * e$g) < 1e-22) break }
  e <- eval1(theta); c(e, list(theta = theta)) }
