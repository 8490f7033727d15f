# SPDX-License-Identifier: GPL-3.0-or-later
# Makes the data and constants of tests/conformance/test_stratified.c. Published data from metadat and
# survival, taken as if each study (or matched set) were a trial: lidocaine after infarction (Hine 1989),
# catheter infections (Niel-Weise 2007, 2008), BCG (Colditz 1994), abortions and infertility (Trichopoulos
# 1976). Run in this folder: Rscript make.R
RNGkind("Mersenne-Twister", "Inversion", "Rejection")
source("reference.R")
number <- function(x) if (length(x) == 0 || is.na(x) || !is.finite(x)) "null" else sprintf("%.17g", x)
json <- function(x) {
  if (is.list(x)) {
    if (is.null(names(x))) return(paste0("[", paste(vapply(x, json, ""), collapse = ",\n"), "]"))
    return(paste0("{", paste0("\"", names(x), "\": ", vapply(x, json, ""), collapse = ", "), "}"))
  }
  if (is.character(x)) return(paste0("\"", x, "\""))
  number(x)
}
save_csv <- function(d, name) { write.csv(d, name, row.names = FALSE, quote = FALSE, na = "") }
rows <- function(a, n1, c, n0) do.call(rbind, lapply(seq_along(a), function(i) data.frame(trial = sprintf("t%02d", i), period = seq_len(n1[i] + n0[i]),
  treatment = rep(1:0, c(n1[i], n0[i])), y = rep(c(1, 0, 1, 0), c(a[i], n1[i] - a[i], c[i], n0[i] - c[i])))))
rates <- function(a, t1, c, t0) do.call(rbind, lapply(seq_along(a), function(i) data.frame(trial = sprintf("t%02d", i), period = 1:2, treatment = 1:0,
  y = c(a[i], c[i]), exposure = c(t1[i], t0[i]))))
cases <- list()
add <- function(name, file, d, kind, measure, method, any = FALSE, exposure = FALSE, level = 0.95) {
  if (!exposure) d$exposure <- NULL
  cases[[length(cases) + 1]] <<- list(name = name, file = file, kind = kind, measure = measure, method = method, any = as.numeric(any),
                                      exposure = as.numeric(exposure), level = level, expected = strat_reference(d, measure, method, any, level))
}
binary <- function(name, d, any = FALSE, kind = "binary") {
  file <- paste0(name, ".csv"); save_csv(d, file)
  for (m in c("OR", "RR", "RD")) add(paste(name, m), file, d, kind, m, "mantel_haenszel", any)
  add(paste(name, "peto"), file, d, kind, "OR", "peto", any, level = 0.9)
  add(paste(name, "clogit"), file, d, kind, "OR", "conditional", any)
}
h <- dat.hine1989; binary("hine1989", rows(h$ai, h$n1i, h$ci, h$n2i))
w <- dat.nielweise2007; binary("nielweise2007", rows(w$ai, w$n1i, w$ci, w$n2i))
i <- infert; x <- data.frame(trial = sprintf("t%02d", i$stratum), period = ave(i$stratum, i$stratum, FUN = seq_along), treatment = as.numeric(i$spontaneous > 0), y = i$case)
binary("infert", x[order(x$trial, x$period), ])
r <- dat.nielweise2008; d <- rates(r$x1i, r$t1i, r$x2i, r$t2i); save_csv(d, "nielweise2008.csv")
for (m in c("mantel_haenszel", "conditional")) add(paste("nielweise2008", m), "nielweise2008.csv", d, "count", "IRR", m, exposure = TRUE)
b <- dat.bcg; d <- rates(b$tpos, b$tpos + b$tneg, b$cpos, b$cpos + b$cneg); save_csv(d, "bcg.csv")
for (m in c("mantel_haenszel", "conditional")) add(paste("bcg", m), "bcg.csv", d, "count", "IRR", m, exposure = TRUE)
# simulated series of trials: adverse events by period, three cycles, some periods lost; zero and double-zero trials
set.seed(20)
d <- do.call(rbind, lapply(1:30, function(i) { trt <- as.vector(replicate(3, sample(0:1))); e <- rnorm(1, -1.2)
  data.frame(trial = sprintf("t%02d", i), period = 1:6, treatment = trt, y = rpois(6, exp(e + 0.6 * trt))) }))
d$y[runif(nrow(d)) < 0.1] <- NA
save_csv(d, "events.csv")
for (m in c("mantel_haenszel", "conditional")) add(paste("events", m), "events.csv", d, "count", "IRR", m)
for (m in c("OR", "RR", "RD")) add(paste("events any", m), "events.csv", d, "count", m, "mantel_haenszel", TRUE)
add("events any clogit", "events.csv", d, "count", "OR", "conditional", TRUE)
e <- d[!is.na(d$y), ]; e <- e[ave(e$y, e$trial, FUN = length) == 6, ]; save_csv(e, "equal.csv")
add("equal ratio", "equal.csv", e, "count", "IRR", "conditional")
cat(json(list(made_by = "make.R", R = R.version.string, metafor = as.character(packageVersion("metafor")), survival = as.character(packageVersion("survival")),
              cases = cases)), "\n", file = "expected.json")
