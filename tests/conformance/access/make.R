# SPDX-License-Identifier: GPL-3.0-or-later
# Data and constants of tests/conformance/test_access.c: base R's table and cut.
# Run in this folder: Rscript make.R
RNGkind("Mersenne-Twister", "Inversion", "Rejection")
json <- function(x) {
  if (is.list(x)) {
    if (is.null(names(x))) return(paste0("[", paste(vapply(x, json, ""), collapse = ",\n"), "]"))
    return(paste0("{", paste0("\"", names(x), "\": ", vapply(x, json, ""), collapse = ", "), "}"))
  }
  if (is.character(x)) return(paste0("\"", x, "\""))
  if (is.na(x)) "null" else sprintf("%.17g", x)
}
set.seed(31)
n <- 70
ward <- sample(c("east", "north", "south", "west"), n, TRUE, c(.4, .3, .22, .08))
wait <- round(rexp(n, 1 / 80)); wait[sample(n, 6)] <- NA; wait[1:3] <- c(30, 90, 180)
d <- do.call(rbind, lapply(seq_len(n), function(i) data.frame(trial = sprintf("t%02d", i), cycle = 1, period = 1:2,
  treatment = sample(0:1), y = round(rnorm(2, 5), 1), ward = ward[i], wait = wait[i])))
write.csv(d, "wards.csv", row.names = FALSE, quote = FALSE, na = "")
counts <- function(breaks) lapply(sort(unique(ward)), function(w) { t <- wait[ward == w]
  list(level = w, trials = length(t), cells = as.list(c(as.vector(table(cut(t, c(-Inf, breaks, Inf)))), sum(is.na(t))))) })
expected <- c(east = 3, north = 3, south = 3, west = 1)
share <- table(ward) / n
cat(json(list(made_by = "make.R", R = R.version.string, three = counts(c(30, 90, 180)), one = counts(60),
  recruited = lapply(names(expected), function(w) list(level = w, patients = sum(ward == w), share = share[[w]], ratio = share[[w]] / (expected[[w]] / sum(expected)))))), "\n", file = "expected.json")
