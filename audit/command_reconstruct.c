/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * `nof1-audit reconstruct`: what sums of a given number of patients would let an attacker rebuild.
 */
#include "reconstruct.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/json.h>
#include <sys/arguments.h>

struct texts {
    const char *form, *n, *scalars, *levels, *quantum, *periods, *missing, *points, *share, *seed,
        *runs, *starts;
};

static nof1_rc number(double *out, const char *name, const char *text, double least, double most,
                      struct nof1_error *error)
{
    char *end = NULL;
    *out = strtod(text, &end);
    if (end == text || *end != 0 || !(*out >= least && *out <= most)) {
        return nof1_fail(error, NOF1_E_USAGE, "--%s: expected a number from %g to %g", name, least,
                         most);
    }
    return NOF1_OK;
}

static nof1_rc count(size_t *out, const char *name, const char *text, uint64_t least, uint64_t most,
                     struct nof1_error *error)
{
    uint64_t value = 0;
    TRY(nof1_argument_number(&value, name, text, least, most, error));
    *out = (size_t)value;
    return NOF1_OK;
}

static nof1_rc read_form(struct reconstruct *out, const struct texts *text,
                         struct nof1_error *error)
{
    if (text->form == NULL) {
        out->form = out->scalars == 2   ? RECONSTRUCT_DIFFERENCE
                    : out->scalars == 5 ? RECONSTRUCT_SLOPE
                                        : RECONSTRUCT_BASIS;
        return NOF1_OK;
    }
    for (enum reconstruct_form f = 0; f < RECONSTRUCT_FORMS; f++) {
        if (strcmp(text->form, reconstruct_name(f)) == 0) {
            out->form = f;
            return NOF1_OK;
        }
    }
    return nof1_fail(error, NOF1_E_USAGE,
                     "--form: expected difference, slope, basis, regression or share");
}

static nof1_rc read_texts(struct reconstruct *out, const struct texts *text,
                          struct nof1_error *error)
{
    TRY(count(&out->n, "n", text->n, 2, RECONSTRUCT_PATIENTS, error));
    TRY(count(&out->scalars, "scalars", text->scalars, 2, RECONSTRUCT_SUMS, error));
    TRY(read_form(out, text, error));
    TRY(count(&out->levels, "levels", text->levels, 0, 1001, error));
    TRY(count(&out->periods, "periods", text->periods, 1, 20, error));
    TRY(count(&out->runs, "studies", text->runs, 1, 100000, error));
    TRY(count(&out->starts, "starts", text->starts, 1, 1000, error));
    TRY(number(&out->quantum, "quantum", text->quantum, 0, 1e6, error));
    TRY(number(&out->missing, "missing", text->missing, 0, 0.95, error));
    TRY(count(&out->points, "points", text->points, 0, 1000000, error));
    TRY(number(&out->share, "share", text->share, 0.001, 0.999, error));
    if (out->levels == 1) {
        return nof1_fail(error, NOF1_E_USAGE, "--levels: 0 for a continuous scale, or 2 and more");
    }
    return nof1_argument_number(&out->seed, "seed", text->seed, 0, UINT32_MAX, error);
}

static double at(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static void print_text(const json_t *result)
{
    const json_t *open = json_object_get(result, "free_dimensions"),
                 *least = json_object_get(result, "least_squares"),
                 *counted = json_object_get(result, "enumeration"),
                 *lattice = json_object_get(result, "lattice");
    printf("%g numbers released about %g unknown numbers of %g patients: ratio %.2f\n",
           at(result, "scalars"), at(result, "numbers"), at(result, "patients"),
           at(result, "ratio"));
    printf("linearised:     %g directions of the unknowns stay open (least %g)\n", at(open, "mean"),
           at(open, "least"));
    printf("least squares:  %.0f %% of patients right in a solution, %.0f %% by chance; solutions "
           "spread %.2f sd\n",
           100 * at(least, "right"), 100 * at(least, "right_by_chance"), at(least, "spread"));
    if (json_is_object(counted)) {
        printf(
            "enumeration:    %g multisets give these sums (%g to %g); %.0f %% of values in all of "
            "them; %.1f bits by the policy's estimate\n",
            at(counted, "median_multisets"), at(counted, "least_multisets"),
            at(counted, "most_multisets"), 100 * at(counted, "certain"),
            at(counted, "policy_entropy_bits"));
    }
    if (json_is_object(lattice)) {
        printf(
            "lattice:        %.0f %% of pattern sums found exactly; %.0f %% of %g patients who are "
            "alone in their pattern\n",
            100 * at(lattice, "pattern_sums_found"), 100 * at(lattice, "single_patients_found"),
            at(lattice, "single_patients"));
    }
}

static int failed(nof1_rc_value rc, const struct nof1_error *error)
{
    char text[1024];
    nof1_error_text(error, text, sizeof text);
    fprintf(stderr, "nof1-audit reconstruct: %s\n", error->rc == rc ? text : nof1_rc_sentence(rc));
    return nof1_rc_exit_code(rc);
}

int audit_command_reconstruct(int argc, char **argv)
{
    bool json = false, help = false;
    struct nof1_error error = {.rc = NOF1_OK};
    struct texts text = {.levels = "0",
                         .quantum = "0",
                         .periods = "3",
                         .missing = "0.25",
                         .points = "0",
                         .share = "0.33",
                         .seed = "1",
                         .runs = "20",
                         .starts = "12"};
    const struct nof1_argument rows[] = {
        {"n", "N", &text.n, NULL, "patients the attacker does not hold, or two releases differ by",
         true},
        {"scalars", "K", &text.scalars, NULL,
         "outcome numbers released: 2, 5, 2 a weight, or 1 more than parameters", true},
        {"form", "NAME", &text.form, NULL,
         "difference, slope, basis (by --scalars), regression, share", false},
        {"levels", "L", &text.levels, NULL, "points of the scale; 0: continuous (0)", false},
        {"quantum", "Q", &text.quantum, NULL, "step to which sums are rounded; 0: exact (0)",
         false},
        {"periods", "N", &text.periods, NULL, "basis: most periods of an arm (3)", false},
        {"missing", "P", &text.missing, NULL, "basis: share of periods missing (0.25)", false},
        {"points", "N", &text.points, NULL, "regression: points of a covariate; 0: real (0)",
         false},
        {"share", "P", &text.share, NULL, "share: one patient's part of the weights (0.33)", false},
        {"studies", "N", &text.runs, NULL, "made-up studies (20)", false},
        {"starts", "N", &text.starts, NULL, "starts of the least squares, each study (12)", false},
        {"seed", "N", &text.seed, NULL, "another number, other studies (1)", false},
        {"json", NULL, NULL, &json, "print one JSON object", false},
        NOF1_ARGUMENTS_END};
    const struct nof1_usage_text usage = {
        "nof1-audit reconstruct --n N --scalars K [--form NAME] [--levels L] [--quantum Q]",
        "Attack the sums that a plan would release, on made-up patients: how many numbers stay\n"
        "open, and how many patients an attacker gets right. Reads no data. The same options give\n"
        "the same numbers.\n",
        rows, 0};
    struct reconstruct asked = {0};
    json_t *result NOF1_CLEANUP(nof1_json_freep) = NULL;
    nof1_rc_value rc = nof1_arguments_read(&usage, 0, NULL, argc, argv, &help, &error);
    if (help) {
        return 0;
    }
    rc = rc == NOF1_OK ? read_texts(&asked, &text, &error) : rc;
    rc = rc == NOF1_OK ? reconstruct_run(&result, &asked, &error) : rc;
    if (rc != NOF1_OK) {
        return failed(rc, &error);
    }
    if (json) {
        NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer out = {0};
        rc = nof1_json_write(&out, result, true);
        printf("%.*s\n", (int)out.length, (const char *)out.data);
    } else {
        print_text(result);
    }
    return rc == NOF1_OK && fflush(stdout) == 0 ? 0 : nof1_rc_exit_code(NOF1_E_IO);
}
