# SPDX-License-Identifier: GPL-3.0-or-later
# The exact optimum of a Gaussian model with V = sigma2 (I + sum gamma_j V_j), by Newton steps on dense
# matrices (observed information 2 AI - EI) from several starts, on every face of zero variances.
# block: indices of the free covariance of trial effects (rows of a lower triangle), given as Z columns.
dense_model <- function(d, X, y, effects = NULL, intercepts = list(), ratios = NULL, reml = TRUE) {
  # effects: matrix of columns of Z per trial (free covariance); intercepts: list of grouping factors with one
  # variance each; ratios: factor whose levels but the first have their own residual variance
  same <- function(f) outer(as.character(f), as.character(f), "==") * 1
  V <- list(); kind <- character(0); T <- same(d$trial); q <- if (is.null(effects)) 0 else ncol(effects)
  for (a in seq_len(q)) for (b in seq_len(a)) {
    M <- outer(effects[, a], effects[, b]); V[[length(V) + 1]] <- T * (if (a == b) M else M + t(M)); kind <- c(kind, "block") }
  for (f in intercepts) { V[[length(V) + 1]] <- same(f); kind <- c(kind, "variance") }
  for (l in levels(ratios)[-1]) { V[[length(V) + 1]] <- diag((ratios == l) * 1); kind <- c(kind, "ratio") }
  n <- length(y); p <- ncol(X); df <- if (reml) n - p else n; m <- length(V); nb <- sum(kind == "block")
  low <- function(g) { G <- matrix(0, q, q); G[upper.tri(G, TRUE)] <- g[seq_len(nb)]; G <- G + t(G) - diag(diag(G), q); G }
  gamma_of <- function(x) { g <- x^2; if (nb) { L <- matrix(0, q, q); L[upper.tri(L, TRUE)] <- x[seq_len(nb)]; L <- t(L); G <- L %*% t(L); g[seq_len(nb)] <- G[upper.tri(G, TRUE)] }
    if (any(kind == "ratio")) g[kind == "ratio"] <- x[kind == "ratio"]^2 - 1
    g }
  at <- function(g, deep = FALSE) {
    H <- diag(n); for (j in seq_len(m)) H <- H + g[j] * V[[j]]
    R <- tryCatch(chol(H), error = function(e) NULL); if (is.null(R)) return(NULL)
    Hi <- chol2inv(R); C <- t(X) %*% Hi %*% X; Ci <- tryCatch(solve(C), error = function(e) NULL); if (is.null(Ci)) return(NULL); P <- Hi - Hi %*% X %*% Ci %*% t(X) %*% Hi
    Py <- drop(P %*% y); S <- sum(y * Py)
    f <- 2 * sum(log(diag(R))) + df * (1 + log(2 * pi * S / df)) + if (reml) as.numeric(determinant(C)$modulus) else 0
    W <- if (reml) P else Hi
    sq <- sapply(V, function(v) sum(Py * (v %*% Py))); tr <- sapply(V, function(v) sum(W * v))
    out <- list(f = f, slope = tr - df * sq / S, beta = drop(Ci %*% t(X) %*% Hi %*% y), vcov = Ci * S / df, sigma2 = S / df, gamma = g)
    if (deep) { A <- lapply(V, function(v) v %*% Py); E <- lapply(V, function(v) W %*% v); h <- matrix(0, m, m)
      for (j in seq_len(m)) for (k in seq_len(m)) h[j, k] <- -sum(E[[j]] * t(E[[k]])) + df / S * 2 * sum(A[[j]] * (P %*% A[[k]])) - df * sq[j] * sq[k] / S^2
      out$h <- h }
    out
  }
  jac <- function(x) { J <- matrix(0, m, m); for (i in seq_len(m)) { h <- 1e-6; u <- x; v <- x; u[i] <- u[i] + h; v[i] <- v[i] - h; J[, i] <- (gamma_of(u) - gamma_of(v)) / (2 * h) }; J } # quadratic: exact
  newton <- function(x, free) { k <- which(free); if (!length(k)) return(x)
    for (it in 1:200) { e <- at(gamma_of(x), TRUE); if (is.null(e)) return(NULL)
      J <- jac(x); g <- drop(t(J) %*% e$slope); H <- t(J) %*% e$h %*% J
      for (a in seq_len(m)) for (b in seq_len(m)) { # second derivative of gamma, exact because it is quadratic
        ea <- (seq_len(m) == a) * 1; eb <- (seq_len(m) == b) * 1; z <- x * 0
        q2 <- (gamma_of(z + ea + eb) - gamma_of(z + ea - eb) - gamma_of(z - ea + eb) + gamma_of(z - ea - eb)) / 4
        H[a, b] <- H[a, b] + sum(e$slope * q2) }
      g <- g[k]; H <- H[k, k, drop = FALSE]; ev <- eigen((H + t(H)) / 2, symmetric = TRUE)
      s <- -drop(ev$vectors %*% (crossprod(ev$vectors, g) / pmax(abs(ev$values), 1e-9))); step <- min(1, 1 / max(abs(s), 1e-300))
      repeat { y2 <- x; y2[k] <- x[k] + step * s; e2 <- at(gamma_of(y2)); if (!is.null(e2) && e2$f <= e$f + 1e-10) break; step <- step / 2; if (step < 1e-8) { y2 <- x; break } }
      x <- y2; if (max(abs(s)) < 1e-11 * max(1, abs(x)) || step < 1e-8) break }
    x }
  best <- NULL; diagonal <- if (nb) cumsum(seq_len(q)) else integer(0); var <- c(diagonal, which(kind == "variance"))
  for (drop in 0:(2^length(var) - 1)) { off <- var[bitwAnd(drop, 2^(seq_along(var) - 1)) > 0]
    free <- !(seq_len(m) %in% off)
    for (r in which(off <= nb)) { i <- match(off[r], diagonal); free[which(row(diag(q))[upper.tri(diag(q), TRUE)] == i | col(diag(q))[upper.tri(diag(q), TRUE)] == i)] <- FALSE }
    for (s0 in c(0.7, 0.2)) { x <- numeric(m); x[var] <- s0; x[kind == "ratio"] <- 1; x[!free] <- 0
      x <- newton(x, free); if (is.null(x)) next; e <- at(gamma_of(x))
      if (is.null(best) || e$f < best$f - 1e-10 * max(1, abs(e$f))) { best <- e; best$x <- x } } }
  best$n <- n; best$V <- V; best$kind <- kind; best$q <- q; best
}
# Kenward-Roger (adjusted covariance, df of each coefficient, F test of L) for V linear, by its formulas
dense_kr <- function(fit, X, L = NULL) {
  n <- nrow(X); p <- ncol(X); s2 <- fit$sigma2; V <- c(list(diag(n)), fit$V); S <- diag(n); for (j in seq_along(fit$V)) S <- S + fit$gamma[j] * fit$V[[j]]
  S <- S * s2; Si <- solve(S); Phi <- solve(t(X) %*% Si %*% X); r <- length(V)
  P <- lapply(V, function(v) -t(X) %*% Si %*% v %*% Si %*% X)
  Q <- function(i, j) t(X) %*% Si %*% V[[i]] %*% Si %*% V[[j]] %*% Si %*% X
  I <- matrix(0, r, r); for (i in 1:r) for (j in 1:r) I[i, j] <- sum((Si %*% V[[i]]) * t(Si %*% V[[j]])) - sum(diag(2 * Phi %*% Q(i, j) - Phi %*% P[[i]] %*% Phi %*% P[[j]]))
  W <- 2 * solve(I); U <- 0; for (i in 1:r) for (j in 1:r) U <- U + W[i, j] * (Q(i, j) - P[[i]] %*% Phi %*% P[[j]])
  A <- Phi + 2 * Phi %*% U %*% Phi; A <- (A + t(A)) / 2
  test <- function(L) { q <- nrow(L); Th <- t(L) %*% solve(L %*% Phi %*% t(L)) %*% L; A1 <- A2 <- 0
    for (i in 1:r) for (j in 1:r) { B <- Th %*% Phi %*% P[[i]] %*% Phi; D <- Th %*% Phi %*% P[[j]] %*% Phi
      A1 <- A1 + W[i, j] * sum(diag(B)) * sum(diag(D)); A2 <- A2 + W[i, j] * sum(diag(B %*% D)) }
    B <- (A1 + 6 * A2) / (2 * q); g <- ((q + 1) * A1 - (q + 4) * A2) / ((q + 2) * A2)
    c1 <- g / (3 * q + 2 * (1 - g)); c2 <- (q - g) / (3 * q + 2 * (1 - g)); c3 <- (q + 2 - g) / (3 * q + 2 * (1 - g))
    Es <- 1 / (1 - A2 / q); Vs <- 2 / q * (1 + c1 * B) / ((1 - c2 * B)^2 * (1 - c3 * B)); rho <- Vs / (2 * Es^2)
    m <- 4 + (q + 2) / (q * rho - 1); b <- L %*% fit$beta
    c(F = m / (Es * (m - 2)) * drop(t(b) %*% solve(L %*% A %*% t(L)) %*% b) / q, df = m) }
  list(se = sqrt(diag(A)), df = sapply(1:p, function(k) test(diag(p)[k, , drop = FALSE])["df"]), A = A, test = if (!is.null(L)) test(L))
}
