# SPDX-License-Identifier: GPL-3.0-or-later
# Random and awkward consortia through `nof1 lab run --in-process --policy open`, beside exact pooled
# fits, metafor and base R. Usage: Rscript against_r.R BIN_DIR [CASES] [SEED] [PATTERN]
# CASES random consortia, then every named case (those that PATTERN names) once with this seed.
# Closes with the largest relative differences and "N passed, N failed".
# Needs lme4, nlme, pbkrtest, lmerTest, metafor, ordinal, numDeriv, jsonlite.
args <- commandArgs(TRUE)
bin <- normalizePath(args[1]); cases <- as.integer(if (length(args) > 1) args[2] else 20)
seed <- as.integer(if (length(args) > 2) args[3] else 1); only <- if (length(args) > 3) args[4]
here <- dirname(normalizePath(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE)[1])))
families <- sub("[.]R$", "", list.files(here, "_cases[.]R$")) # X_cases.R defines X_cases(seed, only)
for (part in c("reference", families)) source(file.path(here, paste0(part, ".R")))
models <- list(list("treatment", 1, ~ .trt), list("treatment", 2, ~ .trt), list(c("treatment", "period"), 2, ~ .trt + period),
               list(c("treatment", "factor(period)", "age", "sex"), 1, ~ .trt + factor(period) + age + sex))
for (i in seq_len(cases)) {
  set.seed(seed * 1000 + i)
  d <- series(sample(6:40, 1), cycles = sample(2:4, 1), obs = if (i %% 3) 1:sample(2:3, 1) else sample(1:2, 1),
              lost = if (i %% 3) 0.12 else 0, tau = sample(c(0, 0.5, 2), 1), sites = sample(2:8, 1))
  m <- models[[1 + i %% 4]]
  for (reml in c(TRUE, FALSE)) {
    df <- if (reml) "kenward_roger" else "z"
    r <- lab(wire(d), plan_mixed(m[[1]], m[[2]], if (reml) "REML" else "ML", df), map_of(c("age", "sex", "ward")))
    compare_mixed(paste("case", i, if (reml) "REML" else "ML"), r, d, m[[3]], m[[2]], reml, df)
  }
  method <- methods[1 + i %% length(methods)]; test <- c("z", "knha")[1 + i %% 2]
  compare_rma(paste("case", i, method, test), lab(wire(d), plan_effects(method, test, "pool"), map_of()), effects_of(d, "pool"), method, test)
}
for (family in families) get(family)(seed, only)
for (k in sort(names(worst))) cat(sprintf("%-24s largest relative difference %.1e\n", k, worst[k]))
cat(sprintf("%d passed, %d failed\n", passed, failed))
quit(status = if (failed > 0) 1 else 0)
