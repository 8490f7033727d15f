# SPDX-License-Identifier: GPL-3.0-or-later
# Constants of test_mixed_structure.c: exact optima on dense matrices (../random/dense.R), checked here against
# lmer run tight, nlme::lme (varIdent), pbkrtest and lmerTest. Usage: Rscript make.R (in this folder).
for (p in c("reference.R", "dense.R", "structure_cases.R")) source(file.path("../random", p))
suppressMessages({library(lmerTest); library(nlme)})
number <- function(x) if (length(x) == 1) sprintf("%.17g", x) else paste0("[", paste(sprintf("%.17g", x), collapse = ", "), "]")
near <- function(what, a, b, tol) { d <- max(abs(a - b) / pmax(1, abs(b))); cat(sprintf("  %-22s %.1e\n", what, d)); stopifnot(d < tol) }
bars <- c(level = "(1 | trial)", slope = "(1 + treatment | trial)", nested = "(1 | trial) + (1 | trial:cy) + (1 | trial:treatment)",
          arm = "(1 | trial) + (1 | trial:treatment)", slope_cycle = "(1 + treatment | trial) + (1 | trial:cy)")
make <- function(name, d, what, residual = "iid", method = "REML", df = "kenward_roger", form = "class", terms = "treatment", extra = "") {
  cat(name, "\n"); reml <- method == "REML"; d$cy <- factor(d$cycle); f <- as.formula(paste("~", paste(terms, collapse = " + ")))
  e <- structure_fit(d, f, what, residual, reml); arms <- levels(d$treatment)
  inside <- TRUE
  if (residual == "iid") { m <- quiet(lmerTest::lmer(as.formula(paste("y ~", paste(terms, collapse = " + "), "+", bars[[what]])), d, REML = reml, control = tight))
    stopifnot(as.numeric(-2 * logLik(m)) > e$f - 1e-8 * abs(e$f)); near("criterion v lmer", as.numeric(-2 * logLik(m)), e$f, 1e-5); near("beta v lmer", fixef(m), e$beta, 1e-2); inside <- !isSingular(m, 1e-4)
  } else { m <- lme(as.formula(paste("y ~", paste(terms, collapse = " + "))), d, as.formula(paste("~", if (what == "slope") "treatment" else "1", "| trial")),
      weights = varIdent(form = ~ 1 | treatment), method = method, control = lmeControl(msTol = 1e-12, tolerance = 1e-10, niterEM = 100, msMaxIter = 500, opt = "optim"))
    near("criterion v lme", as.numeric(-2 * logLik(m)), e$f, 1e-7); near("beta v lme", fixef(m), e$beta, 1e-4) }
  se <- sqrt(diag(e$vcov)); dfs <- rep(NA, length(se)); test <- NULL; L <- diag(ncol(e$X))[grep("^treatment", colnames(e$X)), , drop = FALSE]
  if (df == "kenward_roger") { k <- dense_kr(e, e$X, L); se <- k$se; dfs <- k$df; test <- k$test
    if (residual == "iid" && inside) { near("KR se v pbkrtest", se, sqrt(diag(as.matrix(vcovAdj(m)))), 1e-3); r <- KRmodcomp(as(m, "lmerMod"), L)
      near("F v KRmodcomp", test, c(r$stats$Fstat, r$stats$ddf), 1e-3) } }
  if (df == "satterthwaite") { s <- satterthwaite(e, L); dfs <- s$df; test <- s$test
    near("df v lmerTest", dfs, coef(summary(m))[, "df"], 1e-3); r <- contestMD(m, L, ddf = "Satterthwaite"); near("F v contestMD", test, c(r$`F value`, r$DenDF), 1e-3) }
  options <- paste0("analysis: mixed_model\nfixed: [", paste(terms, collapse = ", "), "]\nrandom: ", random_text[[what]], "\nresidual: ", residual, "\nmethod: ", method, "\ndf: ", df,
    "\nreference: ", arms[1], "\nactive: ", arms[2], "\n", if (length(arms) > 2) paste0("others: [", paste(arms[-(1:2)], collapse = ", "), "]\n"), extra, "charter: {centre: 20}\n")
  v <- e$gamma * e$sigma2; q <- e$q; nb <- q * (q + 1) / 2
  block <- if (q) { G <- matrix(0, q, q); G[upper.tri(G, TRUE)] <- v[1:nb]; c(diag(G), t(G)[lower.tri(t(G))] * 0 + G[upper.tri(G)]) }
  res <- e$sigma2 * c(1, 1 + e$gamma[e$kind == "ratio"])
  write.csv(d[, c("trial", "cycle", "period", "treatment", "y")], paste0(name, ".csv"), row.names = FALSE, quote = FALSE)
  writeLines(c("{", paste0('  "name": "', name, '",'), paste0('  "options": ', toJSON(options, auto_unbox = TRUE), ','), paste0('  "form": "', form, '",'),
    paste0('  "boundary": ', tolower(any(abs(e$x[e$kind != "ratio"]) < 1e-4 & !(q > 1 & e$kind[e$kind != "ratio"] == "block"))), ','),
    paste0('  "components": ', number(c(block, v[e$kind == "variance"], res)), ','), paste0('  "scale": ', number(e$sigma2), ','),
    paste0('  "estimate": ', number(e$beta), ','), paste0('  "error": ', number(unname(se)), ','), if (!anyNA(dfs)) paste0('  "df": ', number(unname(dfs)), ','),
    if (!is.null(test) && length(arms) > 2) paste0('  "test": ', number(unname(test)), ','), paste0('  "criterion": ', number(e$f)), "}"), paste0(name, ".json"))
}
# Satterthwaite by derivatives of the covariance in (sigma2, gamma): exact gradient, observed Hessian
satterthwaite <- function(e, L) { X <- e$X; n <- nrow(X); V <- c(list(diag(n)), e$V); S <- diag(n); for (j in seq_along(e$V)) S <- S + e$gamma[j] * e$V[[j]]
  Si <- solve(S * e$sigma2); Phi <- solve(t(X) %*% Si %*% X); P <- Si - Si %*% X %*% Phi %*% t(X) %*% Si; Py <- P %*% e$y; r <- length(V); H <- matrix(0, r, r)
  for (i in 1:r) for (j in 1:r) H[i, j] <- 2 * sum((V[[i]] %*% Py) * (P %*% V[[j]] %*% Py)) - sum((P %*% V[[i]]) * t(P %*% V[[j]]))
  A <- 2 * solve(H); D <- lapply(V, function(v) Phi %*% t(X) %*% Si %*% v %*% Si %*% X %*% Phi)
  one <- function(l) { g <- sapply(D, function(d) sum(l * (d %*% l))); v <- sum(l * (Phi %*% l)); 2 * v^2 / sum(g * (A %*% g)) }
  E <- eigen(L %*% Phi %*% t(L)); nu <- sapply(seq_len(nrow(L)), function(k) one(drop(E$vectors[, k] %*% L)))
  b <- L %*% e$beta; EQ <- sum(nu / (nu - 2)); q <- nrow(L)
  list(df = apply(diag(ncol(X)), 1, one), test = c(sum(b * solve(L %*% Phi %*% t(L), b)) / q, if (any(nu <= 2)) 2 else if (max(abs(diff(c(nu, nu[1])))) < 1e-8) nu[1] else 2 * EQ / (EQ - q))) }
old_fit <- structure_fit; structure_fit <- function(d, ...) { e <- old_fit(d, ...); e$y <- d$y; e }
set.seed(20260101)
three <- c("a", "b", "c"); d <- nested(16); x <- nested(18, three, arm_sd = 2.5)
make("nested", d, "nested"); make("nested_ml", d, "nested", method = "ML", df = "z"); make("nested_period", d, "nested", terms = c("treatment", "period"))
make("nested_satterthwaite", d, "nested", df = "satterthwaite")
make("nested_score", nested(16, obs = 1:2, lost = 0.15), "nested", form = "score", extra = "incomplete: score\n")
make("nested_zero", nested(16, cycle_sd = 0, sd = 2), "nested", df = "z")
make("slope_cycle", d, "slope_cycle"); make("slope_cycle_score", nested(16, lost = 0.1), "slope_cycle", form = "score", extra = "incomplete: score\n")
make("by_treatment", nested(14, obs = 2, ratio = 2), "slope", "by_treatment"); make("by_treatment_level", nested(14, ratio = 0.5), "level", "by_treatment", method = "ML", df = "z")
make("by_treatment_score", nested(14, obs = 1:3, lost = 0.1, ratio = 2), "level", "by_treatment", form = "score", extra = "incomplete: score\n")
make("three_isotropic", x, "arm"); make("three_free", x, "slope"); make("three_satterthwaite", x, "arm", df = "satterthwaite")
u <- nested(18, three, obs = 1:2, lost = 0.2); make("three_score", u, "arm", form = "score", extra = "incomplete: score\n")
make("three_nested", x, "nested", method = "ML", df = "z"); make("four_arms", nested(14, c("a", "b", "c", "d"), cycles = 2), "arm")
writeLines(c(R.version.string, paste("lme4", packageVersion("lme4")), paste("nlme", packageVersion("nlme")), paste("pbkrtest", packageVersion("pbkrtest")), paste("lmerTest", packageVersion("lmerTest"))), "versions.txt")
