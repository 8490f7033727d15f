# SPDX-License-Identifier: GPL-3.0-or-later
# glmm on random and awkward consortia beside glmer and clmm2, run tight: they stop 1e-6 from the optimum,
# so estimates may differ by that, and our log-likelihood may not be lower.
suppressMessages(library(ordinal))
map_glmm <- function(kind, covariates = NULL)
  c("source: {driver: csv}", "columns: {trial: trial, cycle: cycle, period: period, treatment: treatment}",
    paste0("outcomes: {y: {column: y, kind: ", kind, "}}"), if (length(covariates)) paste0("covariates: [", paste(covariates, collapse = ", "), "]"))
plan_glmm <- function(fixed, K = 9, extra = NULL)
  c("plan: 1", "outcome: y", 'treatment: {reference: "0", active: ["1"]}', "analysis: glmm", paste0("fixed: [", paste(fixed, collapse = ", "), "]"),
    paste("quadrature:", K), extra)
# Standard errors from the exact marginal likelihood with K nodes at these estimates: clmm2 differentiates numerically, to 2e-3
ordinal_se <- function(d, X, K, alpha, beta, sd) {
  J <- diag(0, K); J[cbind(1:(K - 1), 2:K)] <- sqrt(1:(K - 1)); e <- eigen(J + t(J), symmetric = TRUE)
  x <- e$values; w <- e$vectors[1, ]^2 * exp(x^2 / 2) * sqrt(2 * pi); rows <- split(seq_len(nrow(d)), d$g, drop = TRUE); y <- as.integer(d$y); A <- length(alpha)
  nll <- function(p) { a <- c(-Inf, p[1:A], Inf); s <- p[length(p)]; eta <- drop(X %*% p[A + seq_len(ncol(X))])
    -sum(sapply(rows, function(r) { at <- function(u) { q <- eta[r] + s * u; list(plogis(a[y[r] + 1] - q), plogis(a[y[r]] - q)) }
      u <- 0
      for (it in 1:200) { v <- at(u); h <- 1 + s^2 * sum(v[[1]] * (1 - v[[1]]) + v[[2]] * (1 - v[[2]])); g <- -s * sum(1 - v[[1]] - v[[2]]) - u
        step <- max(-0.7, min(0.7, g / h)); u <- u + step; if (abs(step) < 1e-13) break }
      z <- sapply(u + x / sqrt(h), function(u) { v <- at(u); sum(log(v[[1]] - v[[2]])) - u^2 / 2 - log(2 * pi) / 2 })
      log(sum(w * exp(z - max(z)))) + max(z) - log(h) / 2 })) }
  sqrt(diag(solve(numDeriv::hessian(nll, c(alpha, beta, sd)))))[seq_len(A + ncol(X))]
}
compare_glmm <- function(tag, r, d, family, terms, K, slope = FALSE, offset = NULL) {
  if (r$code != 0) { failed <<- failed + 1L; cat("FAIL", tag, "exit", r$code, r$text, "\n"); return(invisible()) }
  d <- d[!is.na(d$y), ]; d$.o <- if (is.null(offset)) 0 else log(d[[offset]]); d$g <- factor(d$trial); constant <- 0
  if (family == "ordinal") {
    d$y <- factor(d$y) # clmm2 evaluates its call elsewhere: give it values
    f <- quiet(do.call(clmm2, list(as.formula(paste("y ~", paste(terms, collapse = " + "))), random = quote(g), data = d, nAGQ = K, Hess = TRUE,
                     control = clmm2.control(grtol = 1e-9, gradTol = 1e-8, maxIter = 500, innerCtrl = "noWarn"))))
    est <- c(f$Alpha, f$beta); sd <- f$stDev; ll <- as.numeric(logLik(f)); se <- ordinal_se(d, as.matrix(d[, terms]), K, f$Alpha, f$beta, sd)
  } else {
    form <- as.formula(paste("y ~", paste(terms, collapse = " + "), if (slope) "+ (1 + treatment | g)" else "+ (1 | g)", "+ offset(.o)"))
    environment(form) <- environment()
    fam <- if (family == "binomial") binomial() else poisson()
    f <- quiet(glmer(form, d, fam, nAGQ = K, control = glmerControl(optimizer = "bobyqa", tolPwrss = 1e-13, optCtrl = list(rhoend = 1e-10, maxfun = 1e5),
               check.conv.singular = "ignore", check.conv.grad = "ignore", check.conv.hess = "ignore")))
    est <- fixef(f); se <- sqrt(diag(as.matrix(vcov(f)))); sd <- attr(VarCorr(f)$g, "stddev")
    ll <- as.numeric(logLik(f)) + if (family == "poisson" && K > 1) sum(dpois(d$y, d$y, log = TRUE)) else 0
  }
  j <- r$json; v <- j$variance_components
  check(paste(tag, "beta"), j$estimates$estimate, unname(est), if (family == "ordinal") 1e-4 else 3e-5, unname(se), "glmm beta")
  check(paste(tag, "se"), j$estimates$std.error, unname(se), if (family == "ordinal") 1e-4 else 2e-3, 0, "glmm se")
  check(paste(tag, "sd"), sqrt(v$estimate[is.na(v$term2)]), unname(sd), 1e-4, 0.1, "glmm sd")
  check(paste(tag, "logLik"), j$fit$logLik, ll, 1e-8, 1, "glmm logLik")
  expect(paste(tag, "not below R"), j$fit$logLik >= ll - 1e-7 * abs(ll), paste(j$fit$logLik, ll))
  expect(paste(tag, "converged"), isTRUE(j$fit$converged)); check(paste(tag, "nobs"), j$fit$nobs, nrow(d), 0)
}
glmm_cases <- function(seed, only = NULL) {
  for (family in c("binomial", "poisson", "ordinal")) for (i in 1:6) {
    name <- paste("glmm", family, i); if (!is.null(only) && !grepl(only, name)) next
    set.seed(seed * 131 + i + nchar(family))
    d <- series(sample(15:50, 1), cycles = sample(2:5, 1), obs = if (i %% 2) 1 else 1:2, lost = if (i %% 3) 0.1 else 0, sites = sample(2:7, 1))
    d$treatment <- as.integer(d$.trt); d$hours <- round(runif(nrow(d), 1, 9)); n <- length(unique(d$trial)); k <- as.integer(factor(d$trial))
    eta <- rnorm(1, 0, 0.5) + 0.6 * d$.trt + (runif(1, 0.5, 1.5) * rnorm(n))[k]
    if (i == 6) eta <- eta + (0.8 * rnorm(n))[k] * d$.trt
    slope <- i == 6 && family != "ordinal"; K <- if (slope) 1 else sample(c(1, 5, 9, 15, 25), 1)
    if (family == "ordinal") K <- max(K, 5)
    exposed <- family == "poisson" && i %in% 2:3
    d$y <- switch(family, binomial = rbinom(nrow(d), 1, plogis(eta)), poisson = rpois(nrow(d), exp(0.6 * eta) * if (exposed) d$hours / 3 else 1),
                  ordinal = as.integer(cut(eta + rlogis(nrow(d)), c(-Inf, -1, 0.2, 1.4, Inf))))
    if (i == 4) d$y[sample(nrow(d), 8)] <- NA
    terms <- if (i %in% c(3, 5)) c("treatment", "period") else "treatment"
    w <- wire(d, "age", "sex", "ward", "time", if (!exposed) "hours")
    extra <- c(if (slope) "random: {trial: [intercept, treatment]}", if (exposed) "exposure: hours")
    r <- lab(w, plan_glmm(terms, K, extra), map_glmm(switch(family, binomial = "binary", poisson = "count", ordinal = "ordinal"), if (exposed) "hours"))
    tryCatch(compare_glmm(name, r, d, family, terms, K, slope, if (exposed) "hours"),
             error = function(e) { failed <<- failed + 1L; cat("FAIL", name, "script:", conditionMessage(e), "\n") })
  }
  for (i in 1:6) { # policy standard beside the open lab: as close as it says
    name <- paste("glmm closed", i); if (!is.null(only) && !grepl(only, name)) next
    set.seed(seed * 137 + i); kind <- c("binary", "count", "ordinal")[1 + i %% 3]
    d <- series(sample(70:110, 1), cycles = sample(3:5, 1), obs = 1, lost = if (i == 4) 0 else 0.1, sites = 8)
    d <- d[d$trial %in% intersect(d$trial[d$.trt == 0], d$trial[d$.trt == 1]), ] # others are left out of one only
    d$treatment <- as.integer(d$.trt); n <- length(unique(d$trial)); k <- as.integer(factor(d$trial))
    eta <- rnorm(1, 0, 0.4) + 0.6 * d$.trt + (runif(1, 0.5, 1.2) * rnorm(n))[k] + if (i == 5) (0.8 * rnorm(n))[k] * d$.trt else 0
    d$y <- switch(kind, binary = rbinom(nrow(d), 1, plogis(eta)), count = rpois(nrow(d), exp(0.6 * eta)),
                  ordinal = as.integer(cut(eta + rlogis(nrow(d)), c(-Inf, -1, 0.2, 1.4, Inf))))
    w <- wire(d, "age", "sex", "ward", "time"); slope <- if (i == 3) "random: {trial: [intercept, treatment]}"
    plan <- plan_glmm(if (i == 6) c("treatment", "period") else "treatment", if (i == 3) 1 else 9, slope); m <- map_glmm(kind)
    o <- lab(w, plan, m); r <- lab(w, plan, m, policy = "standard")
    if (o$code != 0 || r$code != 0) { failed <<- failed + 1L; cat("FAIL", name, "exit", o$code, r$code, o$text, r$text, "\n"); next }
    a <- o$json$estimates; b <- r$json$estimates; at <- match("treatment", a$term)
    off <- abs(b$estimate[at] - a$estimate[at]) / a$std.error[at]; said <- r$json$fit$approximation_se
    expect(name, off <= 5 * said && (said <= 0.1 || !isTRUE(r$json$fit$converged)), paste(kind, r$json$form, "off", off, "said", said))
  }
}
