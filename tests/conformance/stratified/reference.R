# SPDX-License-Identifier: GPL-3.0-or-later
# metafor (rma.mh, rma.peto), survival (clogit) and glm, run tight, for a long data frame d with the
# columns trial, treatment (0, 1), y and, for rates, exposure. Used by make.R and by the random
# comparisons (tests/conformance/random).
suppressMessages({library(metafor); library(survival)})
strat_tables <- function(d, any = FALSE) {
  d <- d[!is.na(d$y), ]
  if (is.null(d$exposure)) d$exposure <- 1
  d <- d[!is.na(d$exposure) & d$exposure > 0, ]
  t <- do.call(rbind, lapply(split(d, d$trial), function(x) {
    A <- x[x$treatment == 1, ]; C <- x[x$treatment == 0, ]
    if (any) data.frame(a = as.numeric(any(A$y > 0)), n1 = as.numeric(nrow(A) > 0), c = as.numeric(any(C$y > 0)), n0 = as.numeric(nrow(C) > 0))
    else data.frame(a = sum(A$y), n1 = sum(A$exposure), c = sum(C$y), n0 = sum(C$exposure))
  }))
  t[t$n1 > 0 & t$n0 > 0, ]
}
strat_rows <- function(f) list(estimate = as.numeric(f$beta), std.error = f$se, statistic = f$zval, p.value = f$pval,
                               conf.low = f$ci.lb, conf.high = f$ci.ub)
# Newton steps on the conditional score from R's own optimum: its default stops 1e-9 away at best.
polish <- function(beta, score) {
  for (i in 1:50) { s <- score(beta); step <- s[1] / s[2]; beta <- beta + step; if (abs(step) < 1e-15 * max(1, abs(beta))) break }
  c(beta, 1 / sqrt(score(beta)[2]))
}
hyper <- function(t) function(beta) {
  r <- apply(t, 1, function(x) { m <- x["a"] + x["c"]; s <- max(0, m - x["n0"]):min(m, x["n1"])
    l <- lchoose(x["n1"], s) + lchoose(x["n0"], m - s) + beta * s; w <- exp(l - max(l)); w <- w / sum(w); e <- sum(w * s)
    c(x["a"] - e, sum(w * (s - e)^2)) })
  rowSums(r)
}
binom_score <- function(t) function(beta) { p <- plogis(beta + log(t$n1 / t$n0)); m <- t$a + t$c; c(sum(t$a - m * p), sum(m * p * (1 - p))) }
strat_reference <- function(d, measure, method, any = FALSE, level = 0.95) {
  t <- strat_tables(d, any); l <- 100 * level
  if (method == "mantel_haenszel") {
    f <- suppressWarnings(if (measure == "IRR")
      rma.mh(measure = "IRR", x1i = a, t1i = n1, x2i = c, t2i = n0, data = t, add = 0, drop00 = FALSE, correct = FALSE, level = l) else
      rma.mh(measure = measure, ai = a, n1i = n1, ci = c, n2i = n0, data = t, add = 0, drop00 = FALSE, correct = FALSE, level = l))
    r <- strat_rows(f)
    if (measure %in% c("OR", "IRR")) { r$mh <- f$MH; r$mh.p <- f$MHp }
    if (measure == "OR") { r$bd <- f$BD; r$bd.p <- f$BDp; r$tarone <- f$TA; r$tarone.p <- f$TAp; r$bd.df <- f$k.pos - 1 }
    return(r)
  }
  if (method == "peto") {
    f <- suppressWarnings(rma.peto(ai = a, n1i = n1, ci = c, n2i = n0, data = t, add = 0, drop00 = FALSE, level = l))
    r <- strat_rows(f); r$q <- f$QE; r$q.p <- f$QEp; r$q.df <- f$k.yi - 1
    return(r)
  }
  if (measure == "OR") {
    x <- do.call(rbind, lapply(seq_len(nrow(t)), function(i) with(t[i, ], data.frame(i = i, y = rep(c(1, 0, 1, 0), c(a, n1 - a, c, n0 - c)),
      trt = rep(c(1, 1, 0, 0), c(a, n1 - a, c, n0 - c))))))
    f <- clogit(y ~ trt + strata(i), x, method = "exact", control = coxph.control(eps = 1e-12, toler.chol = 1e-14, iter.max = 100))
    e <- polish(coef(f), hyper(t))
    stopifnot(abs(e[1] - coef(f)) < 1e-7 * max(1, abs(e[1])), abs(e[2] - sqrt(vcov(f))) < 1e-6 * e[2])
  } else {
    t <- t[t$a + t$c > 0, ]
    f <- glm(cbind(a, c) ~ 1, binomial, t, offset = log(n1 / n0), control = glm.control(epsilon = 1e-14, maxit = 100))
    e <- polish(coef(f), binom_score(t))
    stopifnot(abs(e[1] - coef(f)) < 1e-7 * max(1, abs(e[1])), abs(e[2] - sqrt(vcov(f))) < 1e-6 * e[2])
  }
  q <- qnorm(1 - (1 - level) / 2)
  list(estimate = e[1], std.error = e[2], statistic = e[1] / e[2], p.value = 2 * pnorm(-abs(e[1] / e[2])), conf.low = e[1] - q * e[2], conf.high = e[1] + q * e[2])
}
