# SPDX-License-Identifier: GPL-3.0-or-later
# Random consortia through `nof1 lab run --in-process --policy open`, beside lmer and rma on the pooled
# rows, run tight. Usage: Rscript against_r.R BIN_DIR [CASES] [SEED]
# Closes with "N passed, N failed". Needs lme4, pbkrtest, metafor, jsonlite.
suppressMessages({library(lme4); library(pbkrtest); library(metafor); library(jsonlite)})
args <- commandArgs(TRUE)
bin <- normalizePath(args[1]); cases <- as.integer(if (length(args) > 1) args[2] else 20)
seed <- as.integer(if (length(args) > 2) args[3] else 1)
passed <- 0L; failed <- 0L
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhobeg = 0.2, rhoend = 1e-12, maxfun = 1e6),
                     check.conv.singular = "ignore", check.conv.grad = "ignore", check.conv.hess = "ignore",
                     calc.derivs = FALSE)
# polish lmer's theta by Newton on its own deviance function: the exact optimum
polish <- function(fit) {
  dev <- update(fit, devFunOnly = TRUE)
  th <- getME(fit, "theta"); lower <- getME(fit, "lower")
  free <- which(th > 1e-6 | lower < 0)
  if (length(free) > 0) for (it in 1:6) {
    h <- 1e-4 * pmax(1, abs(th[free]))
    f <- function(x) { z <- th; z[free] <- x; dev(z) }
    x <- th[free]; k <- length(x); g <- numeric(k); H <- matrix(0, k, k)
    for (i in 1:k) { e <- numeric(k); e[i] <- h[i]
      g[i] <- (8 * (f(x + e) - f(x - e)) - (f(x + 2 * e) - f(x - 2 * e))) / (12 * h[i])
      for (j in 1:i) { d <- numeric(k); d[j] <- h[j]
        H[i, j] <- H[j, i] <- (f(x + e + d) - f(x + e - d) - f(x - e + d) + f(x - e - d)) / (4 * h[i] * h[j]) } }
    step <- tryCatch(solve(H, g), error = function(e) rep(0, k))
    if (!all(is.finite(step)) || max(abs(step)) > 0.01) break
    th[free] <- x - step
    if (max(abs(step)) < 1e-10) break
  }
  th
}
check <- function(what, ours, theirs, tol, floor = 0) {
  ok <- length(ours) == length(theirs) && all(is.finite(ours)) &&
    all(abs(ours - theirs) <= tol * pmax(abs(theirs), floor))
  if (isTRUE(ok)) passed <<- passed + 1L else {
    failed <<- failed + 1L
    cat("FAIL", what, "\n  ours  ", format(ours, digits = 15), "\n  theirs", format(theirs, digits = 15), "\n")
  }
}
run <- function(dir, plan, map = NULL) {
  p <- file.path(dir, "plan.yaml"); writeLines(plan, p)
  out <- file.path(dir, "out.json")
  a <- c("lab", "run", "--sites", file.path(dir, "sites"), "--plan", p, "--policy", "open", "--json", "--in-process")
  if (!is.null(map)) { m <- file.path(dir, "map.yaml"); writeLines(map, m); a <- c(a, "--map", m) }
  code <- system2(file.path(bin, "nof1"), a, stdout = out, stderr = file.path(dir, "err.txt"))
  if (code != 0) { cat("exit", code, readLines(file.path(dir, "err.txt")), readLines(out), sep = "\n"); return(NULL) }
  fromJSON(out)
}
simulate <- function(i) {
  set.seed(seed * 1000 + i)
  n <- sample(6:40, 1); cycles <- sample(2:4, 1); obs <- sample(1:3, 1); lossy <- i %% 3 != 0
  tau <- sample(c(0, 0.5, 2), 1); d <- NULL
  for (t in 1:n) {
    a <- rnorm(1, 0, 3); b <- 1 + rnorm(1, 0, tau); period <- 0
    for (cy in 1:cycles) for (tr in sample(0:1)) { period <- period + 1
      if (lossy && runif(1) < 0.12) next
      k <- if (lossy) sample(1:obs, 1) else obs
      for (o in 1:k) d <- rbind(d, data.frame(trial = sprintf("t%03d", t), cycle = cy, period = period,
        time = period * 7 + o, treatment = tr, y = round(20 + a + b * tr + 0.1 * period + rnorm(1, 0, 1.5), 2),
        age = 30 + (t * 7) %% 40, sex = c("F", "M")[1 + t %% 2])) }
  }
  d$site <- paste0("h", 1 + as.integer(factor(d$trial)) %% sample(3:8, 1)); d
}
for (i in seq_len(cases)) {
  d <- simulate(i); dir <- tempfile("nof1"); dir.create(file.path(dir, "sites"), recursive = TRUE)
  for (s in unique(d$site)) write.csv(d[d$site == s, names(d) != "site"],
                                      file.path(dir, "sites", paste0(s, ".csv")), row.names = FALSE, quote = FALSE)
  map <- c("source: {driver: csv}", "columns: {trial: trial, cycle: cycle, period: period, time: time, treatment: treatment}",
           "outcomes: {y: {column: y, kind: continuous}}", "covariates: [age, sex]")
  models <- list(
    list("[treatment]", "[intercept]", y ~ treatment + (1 | trial)),
    list("[treatment]", "[intercept, treatment]", y ~ treatment + (1 + treatment | trial)),
    list("[treatment, period]", "[intercept, treatment]", y ~ treatment + period + (1 + treatment | trial)),
    list("[treatment, factor(period), age, sex]", "[intercept]", y ~ treatment + factor(period) + age + sex + (1 | trial)))
  m <- models[[1 + i %% 4]]
  for (method in c("REML", "ML")) {
    fit <- suppressWarnings(suppressMessages(lmer(m[[3]], d, REML = method == "REML", control = tight)))
    th <- polish(fit)
    exact <- suppressWarnings(suppressMessages(lmer(m[[3]], d, REML = method == "REML", start = th,
                                                   control = lmerControl(optimizer = NULL, calc.derivs = FALSE,
                                                     check.conv.singular = "ignore"))))
    r <- run(dir, c("plan: 1", "outcome: y", 'treatment: {reference: "0", active: ["1"]}', "analysis: mixed_model",
                    paste("fixed:", m[[1]]), paste0("random: {trial: ", m[[2]], "}"), "residual: iid",
                    paste("method:", method), paste("df:", if (method == "REML") "kenward_roger" else "z")), map)
    tag <- paste("case", i, deparse(m[[3]]), method)
    if (is.null(r)) { failed <- failed + 1L; cat("FAIL", tag, "did not run\n"); next }
    s <- coef(summary(exact)); scale <- s[, 2]
    check(paste(tag, "beta"), r$estimates$estimate, unname(fixef(exact)), 1e-8, max(abs(scale)))
    check(paste(tag, "criterion"), if (method == "REML") r$fit$REMLcrit else r$fit$deviance,
          as.numeric(-2 * logLik(exact)), 1e-9)
    check(paste(tag, "nobs"), r$fit$nobs, nobs(exact), 0)
    if (method == "REML") {
      v <- vcovAdj(exact)
      check(paste(tag, "KR se"), r$estimates$std.error, unname(sqrt(diag(as.matrix(v)))), 1e-5)
      ddf <- sapply(seq_along(scale), function(k) get_Lb_ddf(exact, as.numeric(seq_along(scale) == k)))
      check(paste(tag, "KR df"), r$estimates$df, unname(ddf), 1e-4)
    } else check(paste(tag, "se"), r$estimates$std.error, unname(scale), 1e-6)
    th <- polish(fit)
  }
  # the two-stage analysis on period means of both arms (or complete cycles when nothing is missing)
  r <- run(dir, c("plan: 1", "outcome: y", 'treatment: {reference: "0", active: ["1"]}', "analysis: random_effects",
                  "within_variance: pooled", "method: REML", "test: knha", "incomplete: pool"), map)
  pm <- aggregate(y ~ trial + period + treatment, d, mean)
  e <- do.call(rbind, lapply(split(pm, pm$trial), function(x) { A <- x$y[x$treatment == 0]; B <- x$y[x$treatment == 1]
    if (length(A) == 0 || length(B) == 0) return(NULL)
    data.frame(yi = mean(B) - mean(A), u = 1 / length(A) + 1 / length(B),
               ss = sum((A - mean(A))^2) + sum((B - mean(B))^2), df = length(A) + length(B) - 2) }))
  s2 <- sum(e$ss) / sum(e$df)
  f <- rma(e$yi, s2 * e$u, method = "REML", test = "knha", control = list(threshold = 1e-12, maxiter = 20000))
  if (is.null(r)) { failed <- failed + 1L; cat("FAIL case", i, "random_effects did not run\n") } else {
    check(paste("case", i, "rma mu"), r$estimates$estimate, as.numeric(f$b), 1e-7)
    check(paste("case", i, "rma se"), r$estimates$std.error, f$se, 1e-6)
    check(paste("case", i, "rma tau2"), r$heterogeneity$tau.squared, f$tau2, 1e-6, 1e-6)
    check(paste("case", i, "rma Q"), r$heterogeneity$cochran.qe, f$QE, 1e-9)
  }
  unlink(dir, recursive = TRUE)
}
cat(sprintf("%d passed, %d failed\n", passed, failed))
quit(status = if (failed > 0) 1 else 0)
