# SPDX-License-Identifier: GPL-3.0-or-later
# Reference values of glmm. The approximated log-likelihood (adaptive Gauss-Hermite, Laplace) is written
# here independently, checked against glmer or clmm2 at their own estimates, and maximised by Newton
# steps with fourth-order differences until nothing changes. Run: Rscript make.R [PATTERN] (in this folder).
suppressPackageStartupMessages({library(lme4); library(ordinal); library(jsonlite); library(MASS)})
options(digits = 15); only <- c(commandArgs(TRUE), ".")[1]
rule <- function(K) { # Golub-Welsch for the standard normal weight, weights by Christoffel's formula
  if (K == 1) return(list(z = 0, w = 1))
  J <- matrix(0, K, K); for (i in 1:(K - 1)) J[i, i + 1] <- J[i + 1, i] <- sqrt(i)
  z <- sort(eigen(J, symmetric = TRUE)$values)
  H <- matrix(1, K, K); if (K > 1) H[, 2] <- z
  if (K > 2) for (j in 3:K) H[, j] <- (z * H[, j - 1] - sqrt(j - 2) * H[, j - 2]) / sqrt(j - 1)
  list(z = z, w = 1 / rowSums(H^2))
}
# family functions of (eta, y): log-likelihood, its first and second derivative by eta
binary <- list(l = function(e, y) y * e - pmax(e, 0) - log1p(exp(-abs(e))), d = function(e, y) y - plogis(e),
               h = function(e, y) -plogis(e) * plogis(-e))
counts <- list(l = function(e, y) y * e - exp(e) - lgamma(y + 1), d = function(e, y) y - exp(e), h = function(e, y) -exp(e))
categories <- function(alpha) { # y in 1..J; e enters as threshold minus e
  a <- c(-Inf, alpha, Inf); G <- plogis; g <- dlogis; dg <- function(x) ifelse(is.finite(x), g(x) * (1 - 2 * G(x)), 0)
  p <- function(e, y) G(a[y + 1] - e) - G(a[y] - e)
  list(l = function(e, y) log(p(e, y)), d = function(e, y) (g(a[y] - e) - g(a[y + 1] - e)) / p(e, y),
       h = function(e, y) (dg(a[y + 1] - e) - dg(a[y] - e)) / p(e, y) - ((g(a[y] - e) - g(a[y + 1] - e)) / p(e, y))^2)
}
# one trial; S: root of the covariance (q x q), Z rows x q
trial <- function(f, eta, y, Z, S, r) {
  A <- Z %*% S; q <- ncol(A); u <- rep(0, q)
  value <- function(u) sum(f$l(eta + drop(A %*% u), y)) - sum(u^2) / 2
  for (i in 1:200) {
    e <- eta + drop(A %*% u); gr <- drop(crossprod(A, f$d(e, y))) - u; H <- diag(q) - crossprod(A * f$h(e, y), A)
    step <- solve(H, gr); t <- 1
    while (max(abs(step)) > 1e-5 && !isTRUE(value(u + t * step) >= value(u)) && t > 1e-12) t <- t / 2
    u <- u + t * step
    if (max(abs(t * step)) < 1e-13 * max(1, abs(u))) break
  }
  e <- eta + drop(A %*% u); H <- diag(q) - crossprod(A * f$h(e, y), A)
  if (length(r$z) == 1) return(value(u) - determinant(H)$modulus[1] / 2)
  s <- 1 / sqrt(H[1]); k <- sapply(r$z, function(z) value(u + s * z)) + r$z^2 / 2 + log(r$w); top <- max(k)
  log(s) + top + log(sum(exp(k - top)))
}
# theta: thresholds (ordinal), fixed effects, root of the covariance (lower triangle of the symmetric S)
loglik <- function(theta, m) {
  cut <- theta[seq_len(m$cuts)]; p <- ncol(m$X); b <- theta[m$cuts + seq_len(p)]; s <- theta[-seq_len(m$cuts + p)]
  if (m$cuts > 1 && any(diff(cut) <= 0)) return(-Inf)
  f <- switch(m$family, binomial = binary, poisson = counts, ordinal = categories(cut))
  S <- if (length(s) == 1) matrix(s) else matrix(c(s[1], s[2], s[2], s[3]), 2)
  eta <- m$offset + if (p) drop(m$X %*% b) else 0
  sum(sapply(m$rows, function(r) trial(f, eta[r], m$y[r], m$Z[r, , drop = FALSE], S, m$rule)))
}
slope <- function(f, x, i, h) { e <- replace(0 * x, i, h); (8 * (f(x + e) - f(x - e)) - (f(x + 2 * e) - f(x - 2 * e))) / (12 * h) }
curve2 <- function(f, x, i, j, h) {
  a <- replace(0 * x, i, h); b <- replace(0 * x, j, h); d <- function(k) (f(x + k * a + k * b) - f(x + k * a - k * b) - f(x - k * a + k * b) + f(x - k * a - k * b)) / (4 * k^2 * h^2)
  (4 * d(1) - d(2)) / 3 }
newton <- function(x, f, free, unit) { # unit: of each parameter, so that differences are alike
  n <- length(free); last <- Inf; x <- x / unit; raw <- f; f <- function(x) raw(x * unit)
  for (it in 1:30) {
    g <- sapply(free, function(i) slope(f, x, i, 2e-3)); H <- matrix(0, n, n)
    for (i in 1:n) for (j in 1:i) H[i, j] <- H[j, i] <- curve2(f, x, free[i], free[j], 4e-3)
    step <- -solve(H, g); t <- 1
    while (!isTRUE(f(replace(x, free, x[free] + t * step)) >= f(x) - 1e-9)) t <- t / 2
    x[free] <- x[free] + t * step
    if (max(abs(step)) < 2e-9 || (it > 3 && max(abs(step)) > 0.5 * last)) break # the step is taken: far less is left
    last <- max(abs(step))
  }
  list(x = x * unit, H = H / outer(unit[free], unit[free]), step = max(abs(step)))
}
number <- function(x) unname(as.numeric(x))
# fixed, random: formulas of the model; ours: options in YAML; fit(): the R program's theta and logLik
write_case <- function(name, d, family, fixed, options, K = 9, slope = FALSE, offset = NULL, start = NULL,
                       form = "score", boundary = FALSE, data = name, program = NULL, tol = NULL) {
  if (!grepl(only, name)) return(invisible())
  if (data == name) { write.csv(d, paste0(name, ".csv"), row.names = FALSE, quote = FALSE, na = "") }
  d <- read.csv(paste0(data, ".csv"), stringsAsFactors = TRUE); d$trial <- factor(d$trial)
  d <- d[!is.na(d$y), ]; if (!is.null(offset)) d <- d[!is.na(d[[offset]]), ]
  X <- model.matrix(fixed, d); d <- d[as.integer(rownames(X)) %in% as.integer(rownames(d)), ]
  cuts <- 0; y <- d$y
  if (family == "ordinal") { cuts <- length(unique(y)) - 1; y <- as.integer(factor(y)); X <- X[, -1, drop = FALSE] }
  m <- list(family = family, y = y, X = X, Z = if (slope) cbind(1, d$treatment) else matrix(1, nrow(d), 1), cuts = cuts,
            offset = if (is.null(offset)) rep(0, nrow(d)) else log(d[[offset]]), rows = split(seq_len(nrow(d)), droplevels(d$trial)), rule = rule(K))
  f <- function(x) loglik(x, m)
  p <- cuts + ncol(X); gap <- NA; ctl <- glmerControl(optimizer = "bobyqa", tolPwrss = 1e-13, calc.derivs = FALSE, optCtrl = list(rhoend = 1e-10, maxfun = 1e5),
    check.conv.singular = "ignore", check.nobs.vs.nRE = "ignore", check.nlev.gtr.1 = "ignore")
  if (is.null(start)) {
    if (family == "ordinal") {
      dd <<- data.frame(y = factor(y), X, g = droplevels(d$trial), check.names = TRUE)
      g <- suppressWarnings(clmm2(as.formula(paste("y ~", paste(setdiff(names(dd), c("y", "g")), collapse = "+"))), random = g, data = dd, nAGQ = K,
                                  control = clmm2.control(grtol = 1e-10, innerCtrl = "noWarn")))
      start <- c(g$Alpha, g$beta, g$stDev); gap <- f(number(start)) - as.numeric(logLik(g))
    } else {
      d$.o <- m$offset; d$.X <- X
      g <- suppressWarnings(suppressMessages(glmer(if (slope) y ~ 0 + .X + (1 + treatment | trial) + offset(.o) else y ~ 0 + .X + (1 | trial) + offset(.o),
                                  d, if (family == "binomial") binomial else poisson, nAGQ = K, control = ctl)))
      L <- getME(g, "theta"); G <- if (slope) { L <- matrix(c(L[1], L[2], 0, L[3]), 2); L %*% t(L) } else matrix(L^2)
      e <- eigen(G); R <- e$vectors %*% diag(sqrt(pmax(e$values, 0)), nrow(G)) %*% t(e$vectors)
      start <- c(fixef(g), R[lower.tri(R, TRUE)])
      # glmer's value for counts with more than one node lacks the constant of the saturated model
      constant <- if (family == "poisson" && K > 1) sum(dpois(y, y, log = TRUE)) else 0
      gap <- f(number(start)) - as.numeric(logLik(g)) - constant
    }
  }
  start <- number(start); if (boundary) start[p + 1] <- 0
  free <- if (boundary) seq_len(p) else seq_along(start)
  unit <- c(rep(1, cuts), 1 / pmax(1, sqrt(colMeans(X^2))), rep(1, length(start) - p))
  n <- newton(start, f, free, unit); x <- n$x
  V <- solve(-n$H); s <- x[-seq_len(p)]; S <- if (length(s) == 1) matrix(s) else matrix(c(s[1], s[2], s[2], s[3]), 2)
  G <- S %*% S
  out <- list(name = name, data = data, options = options, terms = c(if (cuts) paste0(sort(unique(d$y))[1:cuts], "|", sort(unique(d$y))[-1]), colnames(X)),
    estimate = number(x[seq_len(p)]), std.error = number(sqrt(diag(V)[seq_len(p)])), var = number(G[lower.tri(G, diag = TRUE)]),
    logLik = f(x), nobs = nrow(d), trials = length(m$rows), form = form, boundary = boundary || abs(det(S)) < 1e-6, program_gap = gap)
  writeLines(toJSON(out, digits = I(17), auto_unbox = TRUE, null = "null", pretty = TRUE, na = "null"), paste0(name, ".json"))
  cat(sprintf("%-18s logLik %.10f objective - program's own %+.1e  last step %.1e  root %s  moved %.1e\n", name, f(x), gap, n$step,
              paste(signif(s, 4), collapse = " "), max(abs(x - start))))
}
opt <- function(kind, extra = "", fixed = "[treatment]", incomplete = "score", charter = "")
  sprintf("analysis: glmm\nfixed: %s\nincomplete: %s\n%scharter: {kind: %s%s}\n", fixed, incomplete, extra, kind, charter)
series <- function(n, cycles, seed, obs = 1) { set.seed(seed)
  d <- do.call(rbind, lapply(1:n, function(i) do.call(rbind, lapply(1:cycles, function(k) { o <- sample(0:1); data.frame(trial = i, cycle = k, period = 2 * k - 1:0, treatment = o) }))))
  d <- d[rep(seq_len(nrow(d)), each = obs), ]; rownames(d) <- NULL; d$.u <- rnorm(n)[d$trial]; d$.v <- rnorm(n)[d$trial]; d }
as_binary <- function(d, b0 = -0.4, b1 = 0.8, s = 1.2, t = 0) { d$y <- rbinom(nrow(d), 1, plogis(b0 + s * d$.u + (b1 + t * d$.v) * d$treatment)); d[, !names(d) %in% c(".u", ".v")] }
as_counts <- function(d, b0 = 0.4, b1 = 0.4, s = 0.6, t = 0, e = 1) { d$y <- rpois(nrow(d), e * exp(b0 + s * d$.u + (b1 + t * d$.v) * d$treatment)); d[, !names(d) %in% c(".u", ".v")] }
as_grades <- function(d, b1 = 0.8, s = 1.2, cut = c(-1, 0.3, 1.5)) { d$y <- as.integer(cut(b1 * d$treatment + s * d$.u + rlogis(nrow(d)), c(-Inf, cut, Inf))); d[, !names(d) %in% c(".u", ".v")] }
slopes <- "random: {trial: [intercept, treatment]}\nquadrature: 1\n"
y1 <- ~ treatment

d <- as_binary(series(30, 3, 3))
write_case("logit", d, "binomial", y1, opt("binary"))
write_case("logit_laplace", d, "binomial", y1, opt("binary", "quadrature: 1\n"), K = 1, data = "logit")
write_case("logit_25", d, "binomial", y1, opt("binary", "quadrature: 25\n"), K = 25, data = "logit")
write_case("logit_class", d, "binomial", y1, opt("binary", incomplete = "class"), form = "class", data = "logit")
write_case("logit_period", d, "binomial", ~ treatment + period, opt("binary", fixed = "[treatment, period]"), data = "logit")
d <- as_binary(series(24, 4, 5)); set.seed(6); d$y[sample(nrow(d), 45)] <- NA; d$age <- round(rnorm(24, 40, 12), 1)[d$trial]; d$sex <- c("F", "M")[1 + (d$trial * 7) %% 5 %% 2]
write_case("logit_covariates", d, "binomial", ~ treatment + age + sex + treatment:sex, opt("binary", fixed = "[treatment, age, sex, \"treatment:sex\"]"))
write_case("logit_missing", d, "binomial", y1, opt("binary"), data = "logit_covariates")
write_case("logit_slope", as_binary(series(30, 5, 8), t = 1), "binomial", y1, opt("binary", slopes), K = 1, slope = TRUE)
write_case("logit_zero", as_binary(series(20, 3, 13), s = 0), "binomial", y1, opt("binary"), boundary = TRUE)
d <- as_counts(series(30, 3, 9))
write_case("poisson", d, "poisson", y1, opt("count"))
write_case("poisson_laplace", d, "poisson", y1, opt("count", "quadrature: 1\n"), K = 1, data = "poisson")
write_case("poisson_slope", as_counts(series(30, 4, 10), t = 0.5), "poisson", y1, opt("count", slopes), K = 1, slope = TRUE)
e <- series(25, 3, 11); e$hours <- round(runif(nrow(e), 1, 9)); e <- as_counts(e, b0 = -1, e = e$hours); e$hours[c(3, 50)] <- NA
write_case("poisson_exposure", e, "poisson", y1, opt("count", "exposure: hours\n", charter = ", missing: rows"), offset = "hours")
d <- as_grades(series(30, 3, 12))
write_case("ordinal", d, "ordinal", y1, opt("ordinal"))
write_case("ordinal_10", d, "ordinal", ~ treatment + period, opt("ordinal", "quadrature: 10\n", "[treatment, period]"), K = 10, data = "ordinal")
write_case("ordinal_laplace", d, "ordinal", y1, opt("ordinal", "quadrature: 1\n"), K = 1, data = "ordinal")
# published data
data(cbpp, package = "lme4"); d <- do.call(rbind, lapply(seq_len(nrow(cbpp)), function(i) with(cbpp[i, ], data.frame(trial = as.integer(herd), treatment = as.integer(period != "1"), period = as.integer(period), y = rep(1:0, c(incidence, size - incidence))))))
write_case("cbpp", d, "binomial", ~ treatment, opt("binary", charter = ", any_arm: true"), K = 9)
data(VerbAgg, package = "lme4"); d <- with(subset(VerbAgg, as.integer(id) <= 40), data.frame(trial = as.integer(id), treatment = as.integer(mode == "do"), anger = Anger, y = as.integer(r2 == "Y")))
write_case("verbagg", d, "binomial", ~ treatment + anger, opt("binary", fixed = "[treatment, anger]"), K = 9)
write_case("verbagg_slope", d, "binomial", ~ treatment, opt("binary", slopes), K = 1, slope = TRUE, data = "verbagg")
d <- data.frame(trial = epil$subject, treatment = as.integer(epil$trt == "progabide"), period = epil$period, base = round(log(epil$base / 4), 6), y = epil$y)
write_case("epil", d, "poisson", ~ treatment + base + period, opt("count", fixed = "[treatment, base, period]", charter = ", any_arm: true"))
data(grouseticks, package = "lme4"); d <- with(grouseticks, data.frame(trial = as.integer(BROOD), treatment = as.integer(YEAR == "96"), height = HEIGHT - 460, y = TICKS))
write_case("grouseticks", d, "poisson", ~ treatment, opt("count", charter = ", any_arm: true"), K = 9)
data(wine, package = "ordinal"); d <- with(wine, data.frame(trial = as.integer(judge), treatment = as.integer(temp == "warm"), contact = as.character(contact), y = as.integer(rating)))
write_case("wine", d, "ordinal", ~ treatment + contact, opt("ordinal", "quadrature: 10\n", "[treatment, contact]"), K = 10)
# hard ones: large counts, a rare event, an empty middle category
write_case("large_counts", as_counts(series(15, 3, 21), b0 = 5, s = 1), "poisson", y1, opt("count"))
write_case("rare", as_binary(series(60, 3, 22), b0 = -3.2, b1 = 1), "binomial", y1, opt("binary"))
writeLines(toJSON(list(R = R.version.string, lme4 = as.character(packageVersion("lme4")), ordinal = as.character(packageVersion("ordinal"))), auto_unbox = TRUE), "versions.txt")
