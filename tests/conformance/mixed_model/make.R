# SPDX-License-Identifier: GPL-3.0-or-later
# Reference values of the mixed model. lmer is run tight; its parameters are then polished to the
# exact optimum by Newton steps on the (restricted) likelihood written with dense matrices, until the
# gradient is at rounding level. Standard errors and variances come from the polished optimum;
# Kenward-Roger from pbkrtest at the tight lmer fit. Run: Rscript make.R (in this folder).
suppressPackageStartupMessages({library(lme4); library(pbkrtest); library(jsonlite)})
options(digits = 17)
tight <- function(...) lmerControl(optimizer = "bobyqa", calc.derivs = FALSE,
  optCtrl = list(rhoend = 1e-12, maxfun = 1e5), check.conv.singular = "ignore",
  check.nobs.vs.nRE = "ignore", check.nobs.vs.nlev = "ignore", ...)

# Profiled criterion at Gamma (q x q), its derivatives by (11, 21, 22), everything dense.
evaluate <- function(G, y, X, Z, reml) {
  q <- nrow(G); n <- length(y); p <- ncol(X)
  H <- diag(n) + Z$M %*% kronecker(diag(Z$k), G) %*% t(Z$M)
  R <- chol(H); Hi <- chol2inv(R)
  C <- t(X) %*% Hi %*% X; Ci <- solve(C)
  P <- Hi - Hi %*% X %*% Ci %*% t(X) %*% Hi
  Py <- P %*% y; Q <- sum(y * Py)
  df <- if (reml) n - p else n
  f <- 2 * sum(log(diag(R))) + (if (reml) as.numeric(determinant(C)$modulus) else 0) +
    df * (1 + log(2 * pi * Q / df))
  E <- if (q == 1) list(matrix(1)) else list(matrix(c(1,0,0,0),2), matrix(c(0,1,1,0),2), matrix(c(0,0,0,1),2))
  V <- lapply(E, function(e) Z$M %*% kronecker(diag(Z$k), e) %*% t(Z$M))
  A <- if (reml) P else Hi
  AV <- lapply(V, function(v) A %*% v)
  s <- sapply(V, function(v) sum(Py * (v %*% Py)))
  g <- sapply(AV, function(a) sum(diag(a))) - df * s / Q
  k <- length(V); Hs <- matrix(0, k, k)
  for (i in 1:k) for (j in 1:k) Hs[i, j] <- -sum(AV[[i]] * t(AV[[j]])) +
    df * (2 * sum((V[[i]] %*% Py) * (P %*% (V[[j]] %*% Py))) / Q - s[i] * s[j] / Q^2)
  beta <- Ci %*% t(X) %*% Hi %*% y
  list(f = f, g = g, H = Hs, beta = drop(beta), vcov = Ci * Q / df, sigma2 = Q / df,
       ml = 2 * sum(log(diag(R))) + n * (1 + log(2 * pi * Q / n)))
}
gamma_of <- function(l, q) if (q == 1) matrix(l[1]^2) else {
  L <- matrix(c(l[1], l[2], 0, l[3]), 2); L %*% t(L) }
# Newton in the Cholesky factor, with the entries in `free` only.
polish <- function(l, y, X, Z, reml, free) {
  q <- Z$q
  for (it in 1:60) {
    e <- evaluate(gamma_of(l, q), y, X, Z, reml)
    if (length(free) == 0) return(c(e, list(l = l, decrement = 0)))
    if (q == 1) { J <- matrix(2 * l[1]); S <- matrix(2 * e$g[1]) } else {
      J <- rbind(c(2*l[1], 0, 0), c(l[2], l[1], 0), c(0, 2*l[2], 2*l[3]))
      S <- matrix(0, 3, 3); S[1,1] <- 2*e$g[1]; S[1,2] <- S[2,1] <- e$g[2]; S[2,2] <- S[3,3] <- 2*e$g[3] }
    g <- drop(t(J) %*% e$g)[free]; H <- (t(J) %*% e$H %*% J + S)[free, free, drop = FALSE]
    step <- -solve(H, g); decrement <- sum(g * solve(H, g))
    if (abs(decrement) < 1e-23) break
    l[free] <- l[free] + step
  }
  if (abs(decrement) > 1e-20) stop("not polished: ", decrement)
  c(e, list(l = l, decrement = decrement))
}
number <- function(x) unname(as.numeric(x))
write_case <- function(name, d, formula, options, reml = TRUE, kr = reml, form = NULL, y0 = 0,
                       boundary = FALSE, constant = 0) {
  write.csv(d, paste0(name, ".csv"), row.names = FALSE, quote = FALSE, na = "")
  # what the program reads is what R fits; an offset is taken off exactly first
  d <- read.csv(paste0(name, ".csv"), stringsAsFactors = TRUE)
  d$trial <- factor(d$trial); d$y <- d$y - y0
  fit <- suppressWarnings(lmer(formula, d, REML = reml, control = tight()))
  th <- getME(fit, "theta"); q <- if (length(th) == 1) 1 else 2
  y <- getME(fit, "y"); X <- getME(fit, "X")
  Z <- list(M = as.matrix(getME(fit, "Z")), q = q, k = ngrps(fit)[[1]])
  free <- seq_along(th)
  if (boundary) { zero <- if (q == 1) 1 else 3; th[zero] <- 0; free <- setdiff(free, zero)
    if (q == 2 && th[1] < 1e-5) { th[] <- 0; free <- integer(0) } }
  e <- polish(th, y, X, Z, reml, free)
  G <- gamma_of(e$l, q) * e$sigma2
  out <- list(name = name, options = options, reml = reml, boundary = boundary,
    terms = sub("absent_(\\w+)", "missing(\\1)", colnames(X)),
    estimate = number(e$beta) + y0 * (colnames(X) == "(Intercept)"), std.error = number(sqrt(diag(e$vcov))),
    var = number(G[lower.tri(G, diag = TRUE)]), sigma2 = e$sigma2, criterion = e$f + constant,
    deviance = e$ml, nobs = length(y), trials = Z$k, form = form,
    lmer_criterion = number(if (reml) REMLcrit(fit) else deviance(fit, REML = FALSE)))
  if (kr) {
    V <- vcovAdj(fit)
    out$kr.std.error <- number(sqrt(diag(as.matrix(V))))
    out$kr.df <- sapply(seq_len(ncol(X)), function(i) {
      L <- rep(0, ncol(X)); L[i] <- 1; number(get_Lb_ddf(fit, L)) })
  }
  if (grepl("satterthwaite", options)) {
    s <- lmerTest::as_lmerModLmerTest(fit)
    out$satterthwaite.df <- sapply(seq_len(ncol(X)), function(i) { L <- rep(0, ncol(X)); L[i] <- 1; number(lmerTest::contest1D(s, L)$df) })
  }
  writeLines(toJSON(out, digits = I(17), auto_unbox = TRUE, null = "null", pretty = TRUE),
             paste0(name, ".json"))
  cat(sprintf("%-16s f %.10f lmer %+.1e  decrement %.1e  theta %s\n", name, e$f,
      out$lmer_criterion - e$f, e$decrement, paste(signif(e$l, 4), collapse = " ")))
  invisible(e)
}
simulate_series <- function(n, cycles, seed, tau = 1.5, su = 3, rho = 0.3, sigma = 2, effect = -1, obs = 1) {
  set.seed(seed)
  d <- do.call(rbind, lapply(1:n, function(i) do.call(rbind, lapply(1:cycles, function(k) {
    o <- sample(0:1); data.frame(trial = i, cycle = k, period = 2 * k - 1:0, treatment = o) }))))
  d <- d[rep(seq_len(nrow(d)), each = obs), ]
  u <- rnorm(n); v <- rho * u + sqrt(1 - rho^2) * rnorm(n)
  d$y <- round(50 + su * u[d$trial] + (effect + tau * v[d$trial]) * d$treatment + rnorm(nrow(d), 0, sigma), 3)
  rownames(d) <- NULL
  d
}
slope <- y ~ treatment + (1 + treatment | trial)
level <- y ~ treatment + (1 | trial)
opt <- function(fixed = "[treatment]", random = "[intercept, treatment]", method = "REML",
                df = if (method == "REML") "kenward_roger" else "z", incomplete = "auto", charter = "centre: 50")
  sprintf("analysis: mixed_model\nfixed: %s\nrandom: {trial: %s}\nmethod: %s\ndf: %s\nincomplete: %s\ncharter: {%s}\n",
          fixed, random, method, df, incomplete, charter)

# complete, balanced; both forms; REML and ML
d <- simulate_series(20, 3, 1)
write_case("balanced", d, slope, opt(), form = "class")
write_case("balanced_score", d, slope, opt(incomplete = "score"), form = "score")
write_case("balanced_ml", d, slope, opt(method = "ML"), reml = FALSE, form = "class")
write_case("balanced_level", d, level, opt(random = "[intercept]"), form = "class")
write_case("level_score_ml", d, level, opt(random = "[intercept]", method = "ML", incomplete = "score"), reml = FALSE, form = "score")
write_case("satterthwaite", d, slope, opt(df = "satterthwaite"), kr = FALSE, form = "class")
write_case("satterthwaite_ml", d, level, opt(random = "[intercept]", method = "ML", df = "satterthwaite"), reml = FALSE, form = "class")
# scheduled periods as covariates
write_case("period_class", d, y ~ treatment + period + (1 + treatment | trial), opt("[treatment, period]"), form = "class")
write_case("period_level", d, y ~ treatment + factor(period) + (1 | trial), opt("[treatment, factor(period)]", "[intercept]"), form = "class")
write_case("factor_class", d, y ~ treatment + factor(period) + (1 + treatment | trial), opt("[treatment, factor(period)]"), form = "class")
# two classes
d2 <- rbind(simulate_series(12, 3, 2), transform(simulate_series(10, 2, 3), trial = trial + 100))
write_case("two_classes", d2, slope, opt(), form = "class")
write_case("two_score", d2, slope, opt(incomplete = "score"), form = "score")
# missing periods
set.seed(4); d3 <- simulate_series(24, 4, 5); d3$y[sample(nrow(d3), 45)] <- NA
write_case("missing", d3, slope, opt(), form = NULL)
write_case("missing_score", d3, slope, opt(incomplete = "score"), form = "score")
# one arm missing in some trials
d4 <- d3; d4$y[d4$trial %in% c(2, 9) & d4$treatment == 1] <- NA; d4$y[d4$trial == 5 & d4$treatment == 0] <- NA
write_case("one_arm", d4, slope, opt(incomplete = "score"), form = "score")
# unbalanced, 1-7 observations a period, covariates
set.seed(6); base <- simulate_series(18, 3, 7)
d5 <- base[rep(seq_len(nrow(base)), sample(1:7, nrow(base), TRUE)), ]
d5$y <- round(d5$y + rnorm(nrow(d5), 0, 1.5), 3)
d5$time <- ave(d5$y, d5$trial, FUN = seq_along)
d5$age <- round(rnorm(18, 40, 12), 1)[d5$trial]; d5$sex <- c("F", "M")[1 + (d5$trial * 7) %% 5 %% 2]
rownames(d5) <- NULL
write_case("unbalanced", d5, slope, opt(incomplete = "score"), form = "score")
write_case("covariates", d5, y ~ treatment + factor(period) + age + sex + treatment:age + (1 + treatment | trial),
           opt("[treatment, factor(period), age, sex, \"treatment:age\"]", incomplete = "score"), form = "score")
write_case("time_ml", d5, y ~ treatment + time + sex + (1 | trial), opt("[treatment, time, sex]", "[intercept]", "ML", incomplete = "score"), reml = FALSE, form = "score")
# covariates in classes
d6 <- d; set.seed(8); d6$age <- round(rnorm(20, 40, 12), 1)[d6$trial]; d6$sex <- c("F", "M")[1 + d6$trial %% 3 %% 2]
write_case("class_covariates", d6, y ~ treatment + period + age + sex + treatment:age + treatment:sex + (1 + treatment | trial),
           opt("[treatment, period, age, sex, \"treatment:age\", \"treatment:sex\"]", charter = "centre: 50, missing: exclude"), form = "class")
write_case("class_level_cov", d6, y ~ treatment + age + treatment:age + (1 | trial),
           opt("[treatment, age, \"treatment:age\"]", "[intercept]", charter = "centre: 50, missing: exclude"), form = "class")
# carry-over, cycles, strata, a covariate missing in some patients
prev <- function(d) { d$previous_treatment <- ave(d$treatment, d$trial, FUN = function(t) c(0, head(t, -1))); d }
write_case("previous", prev(d3), y ~ treatment + previous_treatment + (1 + treatment | trial), opt("[treatment, previous_treatment]", incomplete = "score"), form = "score")
write_case("previous_class", prev(d), y ~ treatment + previous_treatment + (1 + treatment | trial), opt("[treatment, previous_treatment]"), form = "class")
write_case("cycle", d3, y ~ treatment + cycle + (1 | trial), opt("[treatment, cycle]", "[intercept]", incomplete = "score"), form = "score")
write_case("cycle_class", d, y ~ treatment + factor(cycle) + (1 + treatment | trial), opt("[treatment, factor(cycle)]", charter = "centre: 50, missing: exclude"), form = "class")
d6$stratum <- d6$sex
write_case("stratum", d6, y ~ treatment + stratum + treatment:stratum + (1 + treatment | trial), opt("[treatment, stratum, \"treatment:stratum\"]", charter = "centre: 50, missing: exclude, stratum: sex"), form = "class")
dm <- d[, 1:5]; set.seed(12); dm$age <- round(rnorm(20, 40, 12), 1)[dm$trial]; mid <- mean(range(dm$age[!dm$trial %in% c(3, 8, 14)]))
absent <- dm$trial %in% c(3, 8, 14); dm$age[absent] <- mid; dm$absent_age <- as.integer(absent)
hide <- function(name) { x <- read.csv(paste0(name, ".csv")); x$age[x$absent_age == 1] <- NA; x$absent_age <- NULL
  write.csv(x, paste0(name, ".csv"), row.names = FALSE, quote = FALSE, na = "") }
for (form in c("class", "score")) { name <- paste0("centre_", form)
  write_case(name, dm, y ~ treatment + absent_age + age + (1 + treatment | trial), opt("[treatment, age]", incomplete = form, charter = "centre: 50, missing: centre"), form = form)
  hide(name) }
# boundary
set.seed(9); d7 <- simulate_series(15, 3, 10, tau = 0, su = 0, sigma = 2)
for (s in 1:200) { d7 <- simulate_series(15, 3, 300 + s, tau = 0, su = 0); f <- suppressWarnings(lmer(level, d7, control = tight())); if (getME(f, "theta") < 1e-6) break }
write_case("tau_zero", d7, level, opt(random = "[intercept]"), form = "class", boundary = TRUE)
write_case("tau_zero_score", d7, level, opt(random = "[intercept]", incomplete = "score"), form = "score", boundary = TRUE)
for (s in 1:200) { d8 <- simulate_series(16, 3, 600 + s, tau = 0.6, rho = 0.95); f <- suppressWarnings(lmer(slope, d8, control = tight())); th <- getME(f, "theta"); if (th[3] < 1e-6 && th[1] > 0.1) break }
write_case("singular", d8, slope, opt(), form = "class", boundary = TRUE)
write_case("singular_score", d8, slope, opt(incomplete = "score"), form = "score", boundary = TRUE)
# one cycle each
d9 <- simulate_series(25, 1, 11, sigma = 3)
write_case("one_cycle", d9, level, opt(random = "[intercept]"), form = "class")
# offset and units
do <- d; do$y <- do$y - 50 + 1e8
write_case("offset", do, slope, opt(charter = "centre: 1e8"), form = "class", y0 = 1e8)
write_case("offset_score", do, slope, opt(incomplete = "score", charter = "centre: 1e8"), form = "score", y0 = 1e8)
write_case("offset_far", do, slope, opt(incomplete = "score", charter = "centre: 0"), form = "score", y0 = 1e8)
for (u in c(-6, 6)) { ds <- d; ds$y <- signif(ds$y * 10^u, 12)
  write_case(paste0("units", u), ds, slope, opt(charter = sprintf("centre: %g", 50 * 10^u)), form = "class")
  write_case(paste0("units", u, "_score"), ds, slope, opt(incomplete = "score", charter = sprintf("centre: %g", 50 * 10^u)), form = "score") }
# published data
st <- sleepstudy; ds <- data.frame(trial = st$Subject, period = st$Days + 1, time = st$Days, treatment = as.integer(st$Days > 4), y = st$Reaction)
write_case("sleepstudy", ds, slope, opt(charter = "centre: 300"), form = "class")
write_case("sleepstudy_time", ds, y ~ time + (1 | trial), opt("[time]", "[intercept]", incomplete = "score", charter = "centre: 300"), form = "score")
sl <- data.frame(trial = sleep$ID, period = ifelse(sleep$group == 1, 1, 2), treatment = as.integer(sleep$group) - 1L, y = sleep$extra)
write_case("student", sl, level, opt(random = "[intercept]", charter = "centre: 1.5"), form = "class")

# pooled forms: trials (and cycles) as fixed effects, on period means
for (kind in c("missing", "unbalanced", "two", "cycles")) {
  d <- switch(kind, missing = d3, unbalanced = d5, two = d2, cycles = d3)
  a <- aggregate(y ~ trial + cycle + period + treatment, d[!is.na(d$y), ], mean)
  both <- tapply(a$treatment, a$trial, function(t) length(unique(t)) == 2)
  a <- a[both[as.character(a$trial)], ]
  name <- paste0("pool_", kind); write.csv(d, paste0(name, ".csv"), row.names = FALSE, quote = FALSE, na = "")
  if (kind == "cycles") { full <- ave(a$treatment, a$trial, a$cycle, FUN = function(t) length(unique(t))) == 2; a <- a[full, ]
    a$unit <- factor(paste(a$trial, a$cycle)) } else a$unit <- factor(a$trial)
  a$trial <- factor(a$trial)
  fit <- suppressWarnings(lmer(y ~ 0 + unit + treatment + (0 + treatment | trial), a, control = tight()))
  X <- getME(fit, "X"); Z <- list(M = as.matrix(getME(fit, "Z")), q = 1, k = ngrps(fit)[[1]])
  e <- polish(getME(fit, "theta"), a$y, X, Z, TRUE, 1); t <- ncol(X)
  L <- rep(0, t); L[t] <- 1
  out <- list(name = name, options = opt(incomplete = if (kind == "cycles") "cycles" else "pool"), reml = TRUE, boundary = FALSE,
    terms = "treatment", estimate = number(e$beta[t]), std.error = number(sqrt(e$vcov[t, t])), var = e$l^2 * e$sigma2,
    sigma2 = e$sigma2, criterion = e$f, nobs = nrow(a), trials = nlevels(a$trial), form = if (kind == "cycles") "cycles" else "pool",
    kr.std.error = number(sqrt(as.matrix(vcovAdj(fit))[t, t])), kr.df = number(get_Lb_ddf(fit, L)))
  writeLines(toJSON(out, digits = I(17), auto_unbox = TRUE, null = "null", pretty = TRUE), paste0(name, ".json"))
  cat(sprintf("%-16s f %.10f lmer %+.1e  decrement %.1e  theta %s\n", name, e$f, REMLcrit(fit) - e$f, e$decrement, signif(e$l, 4)))
}
