# SPDX-License-Identifier: GPL-3.0-or-later
# Constants as JSON with 17 digits; absent numbers are null.
number <- function(x) if (length(x) == 0 || is.na(x) || !is.finite(x)) "null" else sprintf("%.17g", x)
json <- function(x) {
  if (is.list(x)) {
    if (is.null(names(x))) return(paste0("[", paste(vapply(x, json, ""), collapse = ",\n"), "]"))
    return(paste0("{", paste0("\"", names(x), "\": ", vapply(x, json, ""), collapse = ", "), "}"))
  }
  if (is.character(x)) paste0("\"", x, "\"") else number(x)
}
