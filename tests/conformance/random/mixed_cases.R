# SPDX-License-Identifier: GPL-3.0-or-later
# One-stage models on awkward consortia, each beside the exact pooled fit.
map_of <- function(covariates = NULL, columns = c("trial", "cycle", "period", "time", "treatment"), y = "y")
  c("source: {driver: csv}", paste0("columns: {", paste(columns, columns, sep = ": ", collapse = ", "), "}"),
    paste0("outcomes: {", y, ": {column: ", y, ", kind: continuous}}"),
    if (length(covariates)) paste0("covariates: [", paste(covariates, collapse = ", "), "]"))
plan_mixed <- function(fixed, effects, method = "REML", df = "z", reference = "0", active = "1", extra = NULL)
  c("plan: 1", "outcome: y", sprintf('treatment: {reference: "%s", active: ["%s"]}', reference, active),
    "analysis: mixed_model", paste0("fixed: [", paste(fixed, collapse = ", "), "]"),
    paste0("random: {trial: [", if (effects == 2) "intercept, treatment" else "intercept", "]}"),
    paste("method:", method), paste("df:", df), extra)
# arms: names of the arms; .trt is 1 for the active one
series <- function(n, cycles = 3, obs = 1:3, lost = 0.1, tau = 1, between = 3, sd = 1.5, rho = 0, sites = 4,
                   arms = c("0", "1"), trend = 0.1) {
  d <- list()
  for (t in seq_len(n)) {
    a <- rnorm(1); b <- rho * a + sqrt(1 - rho^2) * rnorm(1); period <- 0
    age <- round(runif(1, 20, 80)); sex <- sample(c("F", "M"), 1); ward <- sample(c("blue", "green", "red", "tan"), 1)
    for (cy in seq_len(cycles)) for (k in sample(seq_along(arms))) { period <- period + 1
      if (runif(1) < lost) next
      for (o in seq_len(if (length(obs) > 1) sample(obs, 1) else obs))
        d[[length(d) + 1]] <- data.frame(trial = sprintf("t%04d", t), cycle = cy, period = period, time = period * 7 + o,
          treatment = arms[k], .trt = as.numeric(k == 2), y = 20 + between * a + (1 + tau * b) * (k == 2) + 0.4 * (k == 3) +
            trend * period + rnorm(1, 0, sd), age = age, sex = sex, ward = ward) }
  }
  d <- do.call(rbind, d); d$y <- round(d$y, 2)
  d$site <- paste0("h", 1 + (as.integer(factor(d$trial)) - 1) %% sites); d
}
wire <- function(d, ...) { d$.trt <- NULL; drop <- c(...); d[, setdiff(names(d), drop)] }
previous <- function(d) { # arm of the latest earlier period of the trial, 0 when there is none
  unlist(lapply(seq_len(nrow(d)), function(i) { q <- d[d$trial == d$trial[i] & d$period < d$period[i], ]
    if (nrow(q) == 0) 0 else q$.trt[which.max(q$period)] })) }

mixed_cases <- function(seed, only = NULL) {
  go <- function(name, f) if (is.null(only) || grepl(only, name)) { set.seed(seed * 7919 + sum(utf8ToInt(name)));
    tryCatch(f(name), error = function(e) { failed <<- failed + 1L; cat("FAIL", name, "script:", conditionMessage(e), "\n") }) }
  cov <- c("age", "sex", "ward")
  both <- function(name, d, terms, fixed, w = wire(d), map = map_of(cov), ..., y = d$y, effects = 1:2, extra = NULL, style = list(), reference = "0", active = "1", data = d)
    for (e in effects) for (reml in c(TRUE, FALSE)) {
      df <- if (reml) "kenward_roger" else "z"
      r <- lab(w, plan_mixed(terms, e, if (reml) "REML" else "ML", df, reference, active, extra), map, style)
      compare_mixed(paste(name, "effects", e, if (reml) "REML" else "ML"), r, data, fixed, e, reml, df, y = y, ...)
    }
  go("plain", function(n) both(n, d <- series(20), "treatment", ~ .trt))
  go("satterthwaite", function(n) for (lost in c(0, 0.1)) for (e in 1:2) { d <- series(20, lost = lost, obs = 1)
    r <- lab(wire(d), plan_mixed("treatment", e, df = "satterthwaite"), map_of())
    f <- quiet(lmerTest::lmer(if (e == 2) y ~ .trt + (1 + .trt | trial) else y ~ .trt + (1 | trial), d, control = tight))
    if (r$code == 0) check(paste(n, e, lost), r$json$estimates$df, coef(summary(f))[, "df"], 1e-3, 0, "Satterthwaite df") else expect(n, grepl("satterthwaite", r$text), r$text) })
  go("nothing left over", function(n) { d <- series(12, lost = 0); d$y <- as.integer(factor(d$trial)) * (1 + d$.trt) # each trial its own line
    r <- lab(wire(d), plan_mixed("treatment", 2), map_of()); expect(n, r$code == 66 && grepl("fixed terms and random effects", r$text), r$text) })
  go("satterthwaite at the boundary", function(n) for (k in 1:6) { d <- series(12, tau = c(0, 0.2)[1 + k %% 2], between = c(0, 3)[1 + (k > 2)], obs = 1)
    for (e in 1:2) { r <- lab(wire(d), plan_mixed("treatment", e, df = "satterthwaite"), map_of())
      f <- quiet(lmerTest::lmer(if (e == 2) y ~ .trt + (1 + .trt | trial) else y ~ .trt + (1 | trial), d, control = tight))
      if (r$code != 0) expect(n, grepl("satterthwaite", r$text), r$text) else if (REMLcrit(f) > r$json$fit$REMLcrit + 1e-6) cat("NOTE", n, "lmer stopped above our optimum\n")
      else check(paste(n, e, k, if (r$json$fit$boundary) "singular"), r$json$estimates$df, quiet(coef(summary(f)))[, "df"], 1e-3, 0, "Satterthwaite df") } })
  go("text arms, reference last", function(n) { d <- series(18, arms = c("Verum 10 mg", "Placebo"))
    both(n, d, "treatment", ~ .trt, reference = "Verum 10 mg", active = "Placebo", effects = 2) })
  go("three arms, two in the plan", function(n) { d <- series(18, arms = c("a", "b", "c"))
    both(n, d, c("treatment", "time"), ~ .trt + time, data = d[d$treatment != "c", ], w = wire(d), y = d$y[d$treatment != "c"], reference = "a", active = "b") })
  go("one-arm trials", function(n) { d <- series(18); d <- d[!(d$trial %in% c("t0003", "t0005") & d$treatment == "1") & !(d$trial == "t0007" & d$treatment == "0"), ]
    both(n, d, c("treatment", "period"), ~ .trt + period) })
  go("one-row trials", function(n) { d <- series(16); one <- d$trial %in% c("t0002", "t0004", "t0009"); d <- d[!one | !duplicated(d$trial), ]
    both(n, d, "treatment", ~ .trt) })
  go("sites of one trial", function(n) { d <- series(9); d$site <- paste0("site-", d$trial, ".x_y"); both(n, d, c("treatment", "age"), ~ .trt + age) })
  go("forty-five sites", function(n) { d <- series(60, obs = 1); d$site <- paste0("ctr.", as.integer(factor(d$trial)) %% 45); both(n, d, "treatment", ~ .trt, effects = 2) })
  go("missing outcomes", function(n) { d <- series(20); d$y[runif(nrow(d)) < 0.15] <- NA; d$y[d$trial == "t0004"] <- NA
    both(n, d, c("treatment", "period"), ~ .trt + period) })
  go("missing covariates", function(n) { d <- series(24); for (v in c("age", "ward")) for (t in sample(unique(d$trial), 3)) d[[v]][d$trial == t] <- NA
    both(n, d, c("treatment", "age"), ~ .trt + age); both(n, d, c("treatment", "ward"), ~ .trt + ward); both(n, d, "treatment", ~ .trt, effects = 2) })
  go("covariate missing on some rows", function(n) { d <- series(20); d$age[sample(nrow(d), 12)] <- NA
    both(n, d, c("treatment", "age"), ~ .trt + age, effects = 1) })
  go("factor missing on some rows", function(n) { d <- series(20); d$sex[sample(nrow(d), 12)] <- NA
    both(n, d, c("treatment", "sex"), ~ .trt + sex, effects = 1) })
  go("covariate varying within", function(n) { d <- series(18); d$age <- round(d$age + rnorm(nrow(d), 0, 4), 1); d$age[sample(nrow(d), 9)] <- NA
    both(n, d, c("treatment", "age", "treatment:age"), ~ .trt + age + .trt:age) })
  go("missing period", function(n) { d <- series(20); d$time <- NULL; d$period[d$trial %in% c("t0002", "t0011")] <- NA; d$cycle[d$trial == "t0003"] <- NA
    m <- map_of(NULL, c("trial", "cycle", "period", "treatment"))
    both(n, d, "treatment", ~ .trt, map = m); both(n, d, c("treatment", "period"), ~ .trt + period, map = m, effects = 1); both(n, d, c("treatment", "cycle"), ~ .trt + cycle, map = m, effects = 1) })
  go("no schedule columns", function(n) { d <- series(16); both(n, d, c("treatment", "sex"), ~ .trt + sex, w = wire(d, "cycle", "period", "time", "age", "ward"), map = map_of("sex", c("trial", "treatment"))) })
  go("no map", function(n) { d <- series(16); both(n, d, c("treatment", "period", "sex"), ~ .trt + period + sex, map = NULL)
    both(n, d, "treatment", ~ .trt, w = wire(d, "cycle", "period", "time", "age", "ward", "sex"), map = NULL, effects = 2) })
  go("dates", function(n) { d <- series(14); w <- wire(d); start <- as.Date("2023-01-05") + as.integer(factor(d$trial)) * 9
    w$time <- format(start + d$time); d$time <- ave(d$time, d$trial, FUN = function(x) x - min(x)); both(n, d, c("treatment", "time"), ~ .trt + time, w = w) })
  go("semicolons", function(n) { d <- series(14); both(n, d, c("treatment", "age"), ~ .trt + age, style = list(sep = ";", dec = ",", bom = TRUE, eol = "\r\n")) })
  go("quotes", function(n) { d <- series(14, arms = c("A, low", "B; \"x\"")); names(d)[1] <- "trial"; d$ward <- paste0(d$ward, ", wing")
    w <- wire(d); w$treatment <- gsub("\"", "", w$treatment); both(n, d, c("treatment", "ward"), ~ .trt + ward, w = w, style = list(quote = TRUE, eol = "\r\n"), reference = "A, low", active = "B; x", effects = 1) })
  go("four-level factor", function(n) { d <- series(30); both(n, d, c("treatment", "ward", "treatment:ward"), ~ .trt + ward + .trt:ward, effects = 1) })
  go("level at one site", function(n) { d <- series(24); d$ward <- ifelse(d$site == "h2", "zoo", d$ward); d$ward[d$site == "h3"] <- "aaa"; both(n, d, c("treatment", "ward"), ~ .trt + ward) })
  go("lost base level", function(n) { d <- series(20); d$y[d$ward == "blue"] <- NA; both(n, d, c("treatment", "ward"), ~ .trt + ward, effects = 1) })
  go("treatment:age", function(n) { d <- series(24); both(n, d, c("treatment", "age", "treatment:age"), ~ .trt + age + .trt:age) })
  go("treatment:sex", function(n) { d <- series(24); both(n, d, c("treatment", "sex", "treatment:sex"), ~ .trt + sex + .trt:sex) })
  go("treatment:period", function(n) { d <- series(24); both(n, d, c("treatment", "period", "treatment:period"), ~ .trt + period + .trt:period) })
  go("factor(period)", function(n) { d <- series(24); both(n, d, c("treatment", "factor(period)"), ~ .trt + factor(period)) })
  go("factor(cycle)", function(n) { d <- series(24); both(n, d, c("treatment", "factor(cycle)"), ~ .trt + factor(cycle)) })
  go("period from two", function(n) { d <- series(20); d <- d[d$period > 1, ]; both(n, d, c("treatment", "factor(period)"), ~ .trt + factor(period), effects = 1) })
  go("periods with gaps", function(n) { d <- series(20); d$period <- d$period * 3; both(n, d, c("treatment", "factor(period)"), ~ .trt + factor(period), effects = 1) })
  go("cycles from two", function(n) { d <- series(20, cycles = 4); d <- d[d$cycle > 1, ]; both(n, d, c("treatment", "factor(cycle)"), ~ .trt + factor(cycle), effects = 1) })
  go("previous treatment", function(n) { d <- series(20); d$prev <- previous(d); both(n, d, c("treatment", "previous_treatment"), ~ .trt + prev, w = wire(d, "prev"), effects = 1) })
  go("stratum", function(n) { d <- series(24); d$stratum <- sample(c("x1", "x2", "x3"), 24, TRUE)[as.integer(factor(d$trial))]
    both(n, d, c("treatment", "stratum", "treatment:stratum"), ~ .trt + stratum + .trt:stratum, map = map_of(c("age", "stratum")))
    both(n, d, "treatment", ~ .trt, map = map_of(c("age", "stratum")), extra = "strata: [x1, x3]", data = d[d$stratum != "x2", ], y = d$y[d$stratum != "x2"]) })
  go("offset 1e8", function(n) { d <- series(20); w <- wire(d); w$y <- d$y + 1e8; both(n, d, c("treatment", "age"), ~ .trt + age, w = w, y = w$y, shift = 1e8) })
  go("scale 1e-6", function(n) { d <- series(20); w <- wire(d); w$y <- d$y * 1e-6; both(n, d, c("treatment", "period"), ~ .trt + period, w = w, y = w$y, scale = 1e-6) })
  go("scale 1e6", function(n) { d <- series(20); w <- wire(d); w$y <- d$y * 1e6; both(n, d, c("treatment", "period"), ~ .trt + period, w = w, y = w$y, scale = 1e6) })
  go("covariate scale 1e9", function(n) { d <- series(20); d$age <- d$age * 1e9; both(n, d, c("treatment", "age"), ~ .trt + age) })
  go("covariate scale 1e-9", function(n) { d <- series(20); d$age <- d$age * 1e-9; both(n, d, c("treatment", "age"), ~ .trt + age) })
  go("covariate offset 1e4", function(n) { d <- series(20); d$age <- d$age + 1e4; both(n, d, c("treatment", "age", "treatment:age"), ~ .trt + age + .trt:age, far = "age") })
  go("covariate offset 1e6", function(n) { d <- series(20); d$age <- d$age + 1e6; both(n, d, c("treatment", "age"), ~ .trt + age, far = "age"); both(n, d, c("treatment", "age", "treatment:age"), ~ .trt + age + .trt:age, far = "age", effects = 2) })
  go("time offset", function(n) { d <- series(20); d$time <- d$time + 2000; both(n, d, c("treatment", "time"), ~ .trt + time, far = "time") })
  go("tau zero", function(n) both(n, series(20, tau = 0), "treatment", ~ .trt))
  go("no variance between", function(n) both(n, series(20, tau = 0, between = 0, sd = 2), "treatment", ~ .trt))
  go("rho one", function(n) both(n, series(20, rho = 1, tau = 2, sd = 0.7), "treatment", ~ .trt, effects = 2))
  go("rho minus one", function(n) both(n, series(12, rho = -1, tau = 1.5, sd = 1.2), "treatment", ~ .trt, effects = 2))
  go("slope only", function(n) both(n, series(20, between = 0, tau = 2, sd = 1), "treatment", ~ .trt, effects = 2))
  go("nearly singular", function(n) both(n, series(25, rho = 0.97, tau = 1, sd = 1), "treatment", ~ .trt, effects = 2))
  go("small residual", function(n) both(n, series(15, sd = 0.02, tau = 1), "treatment", ~ .trt))
  go("large residual", function(n) both(n, series(15, sd = 60, tau = 1), "treatment", ~ .trt))
  go("two trials", function(n) both(n, series(2, cycles = 6, lost = 0, sites = 2), "treatment", ~ .trt))
  go("three trials", function(n) both(n, series(3, cycles = 5, sites = 3), "treatment", ~ .trt))
  go("unbalanced", function(n) { d <- series(25, cycles = 4, obs = 1:15, lost = 0.3); d$time <- d$time + 8 * d$period; both(n, d, c("treatment", "time"), ~ .trt + time) })
  go("complete data", function(n) both(n, series(20, obs = 1, lost = 0), c("treatment", "period"), ~ .trt + period))
  go("complete data, cycles", function(n) both(n, series(20, obs = 2, lost = 0), c("treatment", "factor(cycle)"), ~ .trt + factor(cycle)))
  go("level 0.9", function(n) both(n, series(15), "treatment", ~ .trt, extra = "level: 0.9", level = 0.9))
  go("without treatment", function(n) both(n, series(15), "period", ~ period, effects = 1))
  go("patients of several trials", function(n) { d <- series(16); d$patient <- paste0("p", as.integer(factor(d$trial)) %/% 2 * 10 + 1); d$site <- paste0("h", as.integer(factor(d$trial)) %/% 2 %% 3)
    both(n, d, "treatment", ~ .trt, map = map_of(cov, c("trial", "patient", "cycle", "period", "time", "treatment"))) })
  go("phases", function(n) { d <- series(14); d$phase <- "treatment"; w <- wire(d); x <- w[!duplicated(w$trial), ]; x$phase <- "baseline"; x$y <- 99; x$time <- -5; x$period <- NA; x$cycle <- NA; x$treatment <- NA; w <- rbind(x, w)
    both(n, d, "treatment", ~ .trt, w = w, map = map_of(cov, c("trial", "phase", "cycle", "period", "time", "treatment"))) })
  go("treatment constant within trials", function(n) { d <- series(20, tau = 0); d$.trt <- as.numeric(d$sex == "M"); d$treatment <- d$sex
    both(n, d, "treatment", ~ .trt, reference = "F", active = "M", effects = 1) })
  go("one site", function(n) { d <- series(12, sites = 1); both(n, d, "treatment", ~ .trt, effects = 2) })
  go("sleepstudy", function(n) { s <- lme4::sleepstudy; d <- data.frame(trial = paste0("s", s$Subject), time = s$Days, treatment = ifelse(s$Days >= 5, "late", "early"), .trt = as.numeric(s$Days >= 5), y = s$Reaction)
    d$site <- paste0("h", as.integer(factor(d$trial)) %% 3); m <- map_of(NULL, c("trial", "time", "treatment"))
    both(n, d, c("treatment", "time"), ~ .trt + time, map = m, reference = "early", active = "late"); both(n, d, "treatment", ~ .trt, map = m, reference = "early", active = "late") })
  go("Orthodont", function(n) { s <- as.data.frame(nlme::Orthodont); d <- data.frame(trial = as.character(s$Subject), time = s$age, treatment = as.character(s$Sex), .trt = as.numeric(s$Sex == "Male"), y = s$distance)
    d$site <- paste0("h", as.integer(factor(d$trial)) %% 4); m <- map_of(NULL, c("trial", "time", "treatment"))
    both(n, d, c("treatment", "time", "treatment:time"), ~ .trt + time + .trt:time, map = m, reference = "Female", active = "Male", effects = 1) })
  go("sleep", function(n) { s <- datasets::sleep; d <- data.frame(trial = paste0("p", s$ID), treatment = as.character(s$group), .trt = as.numeric(s$group == 2), y = s$extra); d$site <- paste0("h", as.integer(s$ID) %% 2)
    both(n, d, "treatment", ~ .trt, map = NULL, reference = "1", active = "2", effects = 1) })
  # what has no answer must say so
  refuse <- function(name, d, terms, effects, pattern, code = NULL, extra = NULL, reference = "0", active = "1", map = map_of(cov), w = wire(d)) {
    r <- lab(w, plan_mixed(terms, effects, extra = extra, reference = reference, active = active), map)
    expect(name, r$code %in% if (is.null(code)) c(1, 2, 3, 66, 78) else code, paste("exit", r$code, r$text))
    expect(paste(name, "text"), grepl(pattern, r$text), r$text)
    if (Sys.getenv("SHOW") != "") cat(sprintf("%-32s %d %s\n", name, r$code, r$text))
  }
  go("refuse: one trial", function(n) refuse(n, series(1, sites = 1), "treatment", 2, "two trials"))
  go("refuse: equal outcomes", function(n) { d <- series(8); d$y <- 5; refuse(n, d, "treatment", 2, "equal") })
  go("refuse: equal outcomes, intercept", function(n) { d <- series(8); d$y <- 5; refuse(n, d, "treatment", 1, "equal") })
  go("refuse: no variation within", function(n) { d <- series(8); d$y <- as.integer(factor(d$trial)) + d$.trt; refuse(n, d, "treatment", 1, "variation") })
  go("refuse: no variation within, slope", function(n) { d <- series(8); d$y <- round(as.integer(factor(d$trial)) * 0.37 + d$.trt * (as.integer(factor(d$trial)) %% 3), 2); refuse(n, d, "treatment", 2, "variation") })
  go("refuse: collinear", function(n) { d <- series(12); d$height <- 2 * d$age + 3; refuse(n, d, c("treatment", "age", "height"), 1, "height", map = map_of(c(cov, "height"))) })
  go("refuse: sleep slope", function(n) { s <- datasets::sleep; d <- data.frame(trial = paste0("p", s$ID), treatment = as.character(s$group), .trt = 0, y = s$extra, site = "h1"); refuse(n, d, "treatment", 2, "intercept", map = NULL, reference = "1", active = "2") })
  go("refuse: one row a trial", function(n) { d <- series(12); d <- d[!duplicated(d$trial), ]; refuse(n, d, "treatment", 1, "one row") })
  go("refuse: unknown term", function(n) refuse(n, series(8), c("treatment", "height"), 1, "height"))
  go("refuse: unknown treatment", function(n) refuse(n, series(8), "treatment", 1, "drug", active = "drug"))
  go("refuse: constant covariate", function(n) { d <- series(8); d$age <- 40; refuse(n, d, c("treatment", "age"), 1, "age") })
  go("refuse: slope of a constant treatment", function(n) { d <- series(20, tau = 0); d$treatment <- d$sex; refuse(n, d, "treatment", 2, "treatment", reference = "F", active = "M") })
  go("refuse: no period column", function(n) { d <- series(8); refuse(n, d, c("treatment", "period"), 1, "period", w = wire(d, "cycle", "period"), map = map_of(cov, c("trial", "time", "treatment"))) })
  go("refuse: three arms unnamed", function(n) { d <- series(8, arms = c("a", "b", "c")); r <- lab(wire(d), c("plan: 1", "outcome: y", "analysis: mixed_model", "fixed: [treatment]", "random: {trial: [intercept]}"), map_of(cov)); expect(n, r$code %in% c(2, 66, 78), paste(r$code, r$text)); expect(n, grepl("name the active", r$text), r$text) })
  go("refuse: far periods", function(n) { d <- series(12); d$period <- d$period * 100; refuse(n, d, c("treatment", "factor(period)"), 1, "without gaps") })
  go("refuse: no outcome", function(n) { d <- series(8); d$y <- NA; refuse(n, d, "treatment", 1, "outcome|observ") })
}
