/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Options of a plan: see options.h.
 */
#include <stats/options.h>

#include <math.h>
#include <string.h>

#include <base/json.h>

static const struct nof1_option *option_of(const struct nof1_analysis *analysis, const char *key)
{
    const struct nof1_option *option = analysis->option;
    while (option->key != NULL && strcmp(option->key, key) != 0) {
        option++;
    }
    return option->key == NULL ? NULL : option;
}

static nof1_rc number_of(double *out, const struct nof1_option *option, const char *text,
                         struct nof1_error *error)
{
    if (!nof1_double_read(out, text)) {
        return nof1_fail(error, NOF1_E_PLAN, "%s: expected a number, found %.40s", option->key,
                         text);
    }
    if (option->lower < option->upper && !(*out >= option->lower && *out <= option->upper)) {
        return nof1_fail(error, NOF1_E_PLAN, "%s: expected a number from %g to %g", option->key,
                         option->lower, option->upper);
    }
    return NOF1_OK;
}

nof1_rc nof1_option_number(double *out, const struct nof1_analysis *analysis,
                           const struct nof1_node *options, const char *key,
                           struct nof1_error *error)
{
    const struct nof1_option *option = option_of(analysis, key);
    const struct nof1_node *node = nof1_node_get(options, key);
    ENSURE(option != NULL, NOF1_E_BUG);
    if (node != NULL && node->hex_doubles &&
        nof1_node_double(out, options, key, error) == NOF1_OK) {
        return NOF1_OK;
    }
    return number_of(out, option, node == NULL ? option->default_text : node->text, error);
}

nof1_rc nof1_option_count(size_t *out, const struct nof1_analysis *analysis,
                          const struct nof1_node *options, const char *key,
                          struct nof1_error *error)
{
    double value;
    TRY(nof1_option_number(&value, analysis, options, key, error));
    if (!(value >= 0) || floor(value) != value || value > 0x1p31) {
        return nof1_fail(error, NOF1_E_PLAN, "%s: expected a whole number", key);
    }
    *out = (size_t)value;
    return NOF1_OK;
}

/* The word, and its place among the choices. */
static nof1_rc word_of(const char **word, size_t *index, const struct nof1_analysis *analysis,
                       const struct nof1_node *options, const char *key, struct nof1_error *error)
{
    const struct nof1_option *option = option_of(analysis, key);
    const struct nof1_node *node = options == NULL ? NULL : nof1_node_get(options, key);
    ENSURE(option != NULL, NOF1_E_BUG);
    *word = node == NULL ? option->default_text : node->text;
    size_t length = *word == NULL ? 0 : strlen(*word);
    *index = 0;
    for (const char *c = option->choices; c != NULL && length > 0; *index += 1) {
        if (strncmp(c, *word, length) == 0 && (c[length] == '|' || c[length] == '\0')) {
            return NOF1_OK;
        }
        c = strchr(c, '|');
        c += c != NULL ? 1 : 0;
    }
    return nof1_fail(error, NOF1_E_PLAN, "%s: expected one of %s, found %.40s", key,
                     option->choices, length == 0 ? "nothing" : *word);
}

nof1_rc nof1_option_choice(size_t *out, const struct nof1_analysis *analysis,
                           const struct nof1_node *options, const char *key,
                           struct nof1_error *error)
{
    const char *word;
    return word_of(&word, out, analysis, options, key, error);
}

nof1_rc nof1_option_word(const char **out, const struct nof1_analysis *analysis,
                         const struct nof1_node *options, const char *key, struct nof1_error *error)
{
    size_t index;
    return word_of(out, &index, analysis, options, key, error);
}

nof1_rc nof1_option_numbers(double *out, size_t *count, size_t most,
                            const struct nof1_analysis *analysis, const struct nof1_node *options,
                            const char *key, struct nof1_error *error)
{
    const struct nof1_option *option = option_of(analysis, key);
    const struct nof1_node *node = nof1_node_get(options, key);
    ENSURE(option != NULL, NOF1_E_BUG);
    *count = node == NULL ? 0 : node->kind == NOF1_LIST ? node->items : 1;
    if (*count > most) {
        return nof1_fail(error, NOF1_E_PLAN, "%s: at most %zu numbers", key, most);
    }
    for (size_t i = 0; i < *count; i++) {
        const struct nof1_node *item = node->kind == NOF1_LIST ? &node->item[i] : node;
        TRY(number_of(&out[i], option, item->text, error));
    }
    return NOF1_OK;
}
