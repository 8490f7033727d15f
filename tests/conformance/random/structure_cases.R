# SPDX-License-Identifier: GPL-3.0-or-later
# Random cycles and treatments within trials, residual variances by treatment, three and more arms, sites.
if (!exists("dense_model")) source(file.path(if (exists("here")) here else "../random", "dense.R"))
plan_structure <- function(fixed, random, residual = "iid", method = "REML", df = "kenward_roger", arms = c("a", "b"), extra = NULL)
  c("plan: 1", "outcome: y", sprintf("treatment: {reference: %s, active: [%s]}", arms[1], paste(arms[-1], collapse = ", ")),
    "analysis: mixed_model", paste0("fixed: [", paste(fixed, collapse = ", "), "]"), paste0("random: ", random),
    paste("residual:", residual), paste("method:", method), paste("df:", df), extra)
nested <- function(n, arms = c("a", "b"), cycles = 3, obs = 1, lost = 0, cycle_sd = 1.5, arm_sd = 1, sd = 1, between = 3, ratio = 1, sites = 4) {
  d <- list()
  for (t in seq_len(n)) { a <- rnorm(1, 0, between); b <- rnorm(length(arms), 0, arm_sd); period <- 0
    for (cy in seq_len(cycles)) { e <- rnorm(1, 0, cycle_sd)
      for (k in sample(seq_along(arms))) { period <- period + 1; if (runif(1) < lost) next
        for (o in seq_len(if (length(obs) > 1) sample(obs, 1) else obs))
          d[[length(d) + 1]] <- data.frame(trial = sprintf("t%03d", t), cycle = cy, period = period, time = period * 7 + o, treatment = arms[k],
            y = 20 + a + b[k] + e + 0.5 * (k - 1) + rnorm(1, 0, sd * if (k > 1) ratio else 1)) } } }
  d <- do.call(rbind, d); d$y <- round(d$y, 3); d$site <- paste0("h", 1 + (as.integer(factor(d$trial)) - 1) %% sites)
  d$treatment <- factor(d$treatment, arms); d
}
random_text <- c(level = "{trial: [intercept]}", slope = "{trial: [intercept, treatment]}",
  nested = "{trial: [intercept], \"trial:cycle\": [intercept], \"trial:treatment\": [intercept]}",
  arm = "{trial: [intercept], \"trial:treatment\": [intercept]}", cycle = "{trial: [intercept], \"trial:cycle\": [intercept]}",
  slope_cycle = "{trial: [intercept, treatment], \"trial:cycle\": [intercept]}")
structure_fit <- function(d, formula, what, residual, reml) {
  X <- model.matrix(formula, d); X <- X[, sort(qr(X)$pivot[seq_len(qr(X)$rank)]), drop = FALSE]
  Z <- if (grepl("slope", what)) model.matrix(~ treatment, d) else matrix(1, nrow(d), 1)
  i <- c(if (what %in% c("nested", "cycle", "slope_cycle")) list(paste(d$trial, d$cycle)), if (what %in% c("nested", "arm")) list(paste(d$trial, d$treatment)))
  fit <- dense_model(d, X, d$y, Z, i, if (residual == "by_treatment") droplevels(d$treatment), reml); fit$X <- X; fit
}
structure_component <- function(v, group, a = NA, b = NA) v$estimate[v$group == group & (v$term1 %in% a) & (v$term2 %in% b)][1]
compare_structure <- function(tag, r, d, formula, what, residual, reml, df = "kenward_roger", form = NULL) {
  if (r$code != 0) { expect(tag, FALSE, paste("exit", r$code, r$text)); return(invisible()) }
  j <- r$json; e <- structure_fit(d, formula, what, residual, reml); o <- j$estimates; se <- sqrt(diag(e$vcov))
  if (!is.null(form)) expect(paste(tag, "form"), j$form == form, j$form)
  if (!expect(paste(tag, "columns"), nrow(o) == ncol(e$X), paste(c(o$term, "|", colnames(e$X)), collapse = " "))) return(invisible())
  check(paste(tag, "criterion"), -2 * j$fit$logLik, e$f, 1e-9, 1, "structure criterion")
  check(paste(tag, "beta"), (o$estimate - e$beta) / se, 0 * se, 1e-8, 1, "structure beta (in se)")
  v <- j$variance_components; s2 <- e$sigma2; g <- e$gamma; at <- 0; q <- e$q
  check(paste(tag, "trial variance"), structure_component(v, "trial", "(Intercept)"), s2 * g[1], 1e-6, s2, "structure variances")
  if (q > 1) for (k in 2:q) check(paste(tag, "slope variance", k), v$estimate[v$group == "trial" & is.na(v$term2)][k], s2 * g[k * (k + 1) / 2], 1e-6, s2, "structure variances")
  at <- q * (q + 1) / 2
  for (w in c(if (what %in% c("nested", "cycle", "slope_cycle")) "trial:cycle", if (what %in% c("nested", "arm")) "trial:treatment")) { at <- at + 1
    check(paste(tag, w), structure_component(v, w, "(Intercept)"), s2 * g[at], 1e-6, s2, "structure variances") }
  own <- v$estimate[v$group == "Residual"]; check(paste(tag, "residual"), own, s2 * c(1, 1 + g[e$kind == "ratio"]), 1e-6, s2, "structure variances")
  expect(paste(tag, "boundary"), j$fit$boundary == any(abs(e$x[e$kind == "variance" | (q == 1 & e$kind == "block")]) < 1e-4) || q > 1)
  if (df == "kenward_roger" && !j$fit$boundary) { k <- dense_kr(e, e$X, if (is.null(j$tables)) NULL else { L <- diag(ncol(e$X))[grep("^treatment[^:]*$", colnames(e$X)), , drop = FALSE]; L })
    check(paste(tag, "KR se"), o$std.error, k$se, 1e-6, 0, "structure KR se"); check(paste(tag, "KR df"), o$df, k$df, 1e-6, 0, "structure KR df")
    if (!is.null(j$tables)) check(paste(tag, "KR F"), unlist(j$tables$cells[[2]][1, c("statistic", "df2")]), k$test, 1e-6, 0, "structure KR F") }
  if (df == "z") check(paste(tag, "se"), o$std.error, se, 1e-8, 0, "structure se")
  invisible(e)
}
structure_cases <- function(seed, only = NULL) {
  go <- function(name, f) if (is.null(only) || grepl(only, name)) { set.seed(seed * 7919 + sum(utf8ToInt(name)))
    tryCatch(f(name), error = function(e) { failed <<- failed + 1L; cat("FAIL", name, "script:", conditionMessage(e), "\n") }) }
  both <- function(name, d, terms, formula, what, residual = "iid", arms = c("a", "b"), form = NULL, extra = NULL, kept = d)
    for (reml in c(TRUE, FALSE)) { df <- if (reml) "kenward_roger" else "z"
      r <- lab(d, plan_structure(terms, random_text[[what]], residual, if (reml) "REML" else "ML", df, arms, extra), map_of())
      compare_structure(paste(name, what, residual, if (reml) "REML" else "ML"), r, kept, formula, what, residual, reml, df, form) }
  go("nested", function(n) both(n, nested(14), "treatment", ~ treatment, "nested", form = "class"))
  go("nested, missing", function(n) both(n, nested(14, obs = 1:2, lost = 0.15), c("treatment", "period"), ~ treatment + period, "nested", form = "score", extra = "incomplete: score"))
  go("cycle", function(n) both(n, nested(14, obs = 2), "treatment", ~ treatment, "cycle", form = "class"))
  go("arm", function(n) both(n, nested(12), "treatment", ~ treatment, "arm", form = "class"))
  go("arm, missing", function(n) both(n, nested(14, lost = 0.2), "treatment", ~ treatment, "arm", form = "score", extra = "incomplete: score"))
  go("slope and cycle", function(n) both(n, nested(14), "treatment", ~ treatment, "slope_cycle", form = "class"))
  go("slope and cycle, missing", function(n) both(n, nested(14, obs = 1:2, lost = 0.1), "treatment", ~ treatment, "slope_cycle", form = "score", extra = "incomplete: score"))
  go("nested, period", function(n) both(n, nested(14), c("treatment", "period"), ~ treatment + period, "nested", form = "class"))
  go("by treatment", function(n) for (w in c("level", "slope")) both(n, nested(12, obs = 2, ratio = 2), "treatment", ~ treatment, w, "by_treatment", form = "class"))
  go("by treatment, missing", function(n) for (w in c("level", "slope")) both(n, nested(14, obs = 1:3, lost = 0.1, ratio = 0.5), c("treatment", "period"), ~ treatment + period, w, "by_treatment", form = "score", extra = "incomplete: score"))
  go("three arms", function(n) for (w in c("arm", "slope", "level")) both(n, nested(14, c("a", "b", "c")), "treatment", ~ treatment, w, arms = c("a", "b", "c"), form = "class"))
  go("three arms, missing", function(n) for (w in c("arm", "slope", "nested")) both(n, nested(14, c("a", "b", "c"), lost = 0.2), "treatment", ~ treatment, w, arms = c("a", "b", "c"), form = "score", extra = "incomplete: score"))
  go("three arms, by treatment", function(n) both(n, nested(14, c("a", "b", "c"), ratio = 2), "treatment", ~ treatment, "arm", "by_treatment", arms = c("a", "b", "c"), form = "class"))
  go("four arms", function(n) { d <- nested(12, c("a", "b", "c", "d"), cycles = 2); for (w in c("arm", "level")) both(n, d, "treatment", ~ treatment, w, arms = c("a", "b", "c", "d")) })
  go("three arms of four", function(n) { d <- nested(14, c("a", "b", "c", "d"), cycles = 2); k <- droplevels(d[d$treatment != "c", ]); k$treatment <- factor(k$treatment, c("d", "a", "b"))
    both(n, d, "treatment", ~ treatment, "arm", arms = c("d", "a", "b"), kept = k) })
  go("three arms, incomplete sets", function(n) { d <- nested(18, c("a", "b", "c")); out <- c("a", "b", "c")[1 + as.integer(factor(d$trial)) %% 3]; d <- d[d$treatment != out | as.integer(factor(d$trial)) %% 2 == 0, ]
    both(n, d, "treatment", ~ treatment, "arm", arms = c("a", "b", "c")) })
  go("no variance of cycles", function(n) both(n, nested(14, cycle_sd = 0, sd = 2), "treatment", ~ treatment, "nested"))
  go("no variance of arms", function(n) both(n, nested(14, arm_sd = 0, sd = 2, lost = 0.1), "treatment", ~ treatment, "nested"))
  go("no variance at all", function(n) both(n, nested(14, arm_sd = 0, cycle_sd = 0, between = 0), "treatment", ~ treatment, "nested"))
  go("site", function(n) for (w in c("level", "slope")) { d <- nested(48, sites = 12); d$y <- d$y + as.integer(factor(d$site)); e <- structure_fit(d, ~ treatment + factor(site), w, "iid", TRUE)
    for (policy in c("open", "standard")) { r <- lab(d, plan_structure(c("treatment", "site"), random_text[[w]]), map_of(), policy = policy)
      if (!expect(paste(n, w, policy), r$code == 0, r$text)) next
      o <- r$json$estimates[r$json$estimates$term == "treatment", ]; k <- dense_kr(e, e$X)
      check(paste(n, w, policy, "effect"), c(o$estimate, o$std.error, o$df), c(e$beta[2], k$se[2], k$df[2]), 1e-7, 0, "site effect, KR se, df")
      check(paste(n, w, policy, "criterion"), r$json$fit$REMLcrit, e$f, 1e-9, 1, "site criterion")
      if (policy == "standard") expect(paste(n, w, "scalars"), r$json$privacy$scalars == if (w == "level") 3 else 6, paste(r$json$privacy$scalars)) } })
  go("block", function(n) { d <- nested(48, sites = 12); r <- lab(d, plan_structure(c("treatment", "block"), random_text[["slope"]]), map_of(), policy = "standard")
    i <- match(d$site, sort(unique(d$site))); d$block <- factor(paste0("b", 1 + (i - 1) %/% 4)); if (expect(n, r$code == 0, r$text)) compare_structure(n, r, d, ~ treatment + block, "slope", "iid", TRUE) })
}
