/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The class form of `glmm`: with equal numbers of rows on both arms a trial's log-likelihood is
 * effect * y_B + h(s), s = y_A + y_B. One round releases sum y_B and, per class, sums of s and of
 * K - 1 further functions of s that span h best over a public box of parameters (weighted singular
 * vectors, after 1 and s are removed). The histogram of s, which would list every total, is not.
 */
#include <gsl/gsl_sf_gamma.h>
#include <math.h>
#include <stats/matrix.h>
#include <stdio.h>
#include <string.h>

#include "glmm_model.h"

#define TOTALS_MAX 2048
#define FUNCTIONS_MAX 8
#define FUNCTIONS_LEAST 3 /* as many as there are parameters, with sum y_B one more */
#define CORRECTIONS 2
#define OPEN_STEP 0x1p-20 /* of functions with mean square 1; elsewhere a quarter, at most 1 */
#define LEAST_BITS 1  /* estimated, of a histogram of totals: measured, more than ten fit then */
#define BASIS_NODES 9 /* whatever the plan has, so that one release serves plans with other nodes */

nof1_rc_value glmm_total_jet(double *jet, const struct glmm_model *m, const struct glmm_class *c,
                             const double *theta, size_t total, double *memory)
{
    static const double x[4] = {1, 0, 1, 1}, offset[2] = {0, 0};
    double n[2] = {(double)c->n[0], (double)c->n[1]}, y[2] = {(double)total, 0};
    struct nof1_glmm_cells cells = {2, x, n, y, offset, NULL};
    ENSURE(nof1_glmm_trial(jet, &m->shape, theta, &cells, memory), NOF1_E_MODEL);
    return NOF1_OK;
}

double glmm_total_ways(const struct glmm_model *m, const struct glmm_class *c, double effect,
                       size_t total)
{
    size_t a = c->n[0], b = c->n[1];
    if (m->family == GLMM_POISSON) {
        return (double)total * log((double)a + (double)b * exp(effect)) -
               gsl_sf_lnfact((unsigned)total);
    }
    double sum = 0, largest = 0;
    for (size_t k = total > a ? total - a : 0; k <= b && k <= total; k++) {
        double way = gsl_sf_lnchoose((unsigned)a, (unsigned)(total - k)) +
                     gsl_sf_lnchoose((unsigned)b, (unsigned)k) + effect * (double)k;
        if (sum > 0 && way > largest) {
            sum *= exp(largest - way);
        }
        largest = sum > 0 ? fmax(largest, way) : way;
        sum += exp(way - largest);
    }
    return largest + log(sum);
}

/* ---- the basis ----------------------------------------------------------------------------- */

#define LEVELS 5
#define EFFECTS 3
#define SPREADS 5
#define POINTS (LEVELS * EFFECTS * SPREADS)

static void box_point(double theta[3], const struct glmm_model *m, size_t k)
{
    static const double level[2][LEVELS] = {{-2.5, -1.2, 0, 1.2, 2.5}, {-1.5, -0.7, 0, 0.7, 1.5}};
    static const double effect[EFFECTS] = {-1.5, 0, 1.5}, spread[SPREADS] = {0.2, 0.6, 1, 1.6, 2.5};
    const struct nof1_study *study = m->base.study;
    const struct nof1_outcome *o = &study->charter->outcome[study->plan->outcome];
    bool counts = m->family == GLMM_POISSON;
    double middle = counts ? log(o->centre > 0 ? o->centre : fmax(0.5, o->upper / 8)) : 0;
    theta[0] = middle + level[counts][k % LEVELS];
    theta[1] = effect[k / LEVELS % EFFECTS];
    theta[0] -= theta[1] / 2;
    theta[2] = spread[k / LEVELS / EFFECTS] * (counts ? 0.6 : 1);
}

/* value[s * POINTS + k] = h(s) at point k; weight[s]: how likely s is over the box. */
static nof1_rc tabulate(double *value, double *weight, const struct glmm_model *m,
                        const struct glmm_class *c)
{
    double jet[10], memory[GLMM_CLASS_MEMORY], node[BASIS_NODES], log_weight[BASIS_NODES];
    struct glmm_model fine = *m;
    TRY(nof1_glmm_quadrature(node, log_weight, BASIS_NODES));
    fine.shape.nodes = BASIS_NODES;
    fine.shape.node = node;
    fine.shape.log_weight = log_weight;
    for (size_t k = 0; k < POINTS; k++) {
        double theta[3];
        box_point(theta, m, k);
        for (size_t s = 0; s < c->totals; s++) {
            TRY(glmm_total_jet(jet, &fine, c, theta, s, memory));
            value[s * POINTS + k] = jet[0];
            weight[s] += exp(jet[0] + glmm_total_ways(m, c, theta[1], s)) / POINTS;
        }
    }
    return NOF1_OK;
}

/* Subtract from every column its weighted least-squares line in s. */
static void remove_line(double *value, const double *weight, size_t totals)
{
    double w = 0, mean = 0, square = 0;
    for (size_t s = 0; s < totals; s++) {
        w += weight[s];
        mean += weight[s] * (double)s;
    }
    mean /= w;
    for (size_t s = 0; s < totals; s++) {
        square += weight[s] * ((double)s - mean) * ((double)s - mean);
    }
    for (size_t k = 0; k < POINTS; k++) {
        double level = 0, slope = 0;
        for (size_t s = 0; s < totals; s++) {
            level += weight[s] * value[s * POINTS + k] / w;
        }
        for (size_t s = 0; s < totals; s++) {
            slope += weight[s] * ((double)s - mean) * (value[s * POINTS + k] - level) / square;
        }
        for (size_t s = 0; s < totals; s++) {
            value[s * POINTS + k] -= level + slope * ((double)s - mean);
        }
    }
}

/* basis[s * (functions - 1) + j], not yet rounded, and how likely each total is over the box. */
static nof1_rc make_basis(struct glmm_class *c, const struct glmm_model *m,
                          struct nof1_arena *arena)
{
    size_t extra = m->functions - 1;
    double *basis = nof1_arena_alloc(arena, c->totals * extra + 1, sizeof *basis);
    double *value = nof1_arena_alloc(arena, c->totals * (POINTS + 1), sizeof *value);
    double *gram = nof1_arena_alloc(arena, POINTS * (2 * POINTS + 1), sizeof *gram);
    ENSURE(basis != NULL && value != NULL && gram != NULL, NOF1_E_NO_MEMORY);
    double *weight = value + c->totals * POINTS, *vector = gram + POINTS * POINTS;
    double *eigenvalue = vector + POINTS * POINTS;
    c->basis = basis;
    c->likely = weight;
    if (extra == 0) {
        return NOF1_OK;
    }
    TRY(tabulate(value, weight, m, c));
    remove_line(value, weight, c->totals);
    for (size_t k = 0; k < POINTS; k++) {
        for (size_t l = 0; l <= k; l++) {
            double sum = 0;
            for (size_t s = 0; s < c->totals; s++) {
                sum += weight[s] * value[s * POINTS + k] * value[s * POINTS + l];
            }
            gram[k * POINTS + l] = gram[l * POINTS + k] = sum;
        }
    }
    nof1_symmetric_eigen(gram, eigenvalue, vector, POINTS);
    for (size_t s = 0; s < c->totals; s++) {
        for (size_t j = 0; j < extra; j++) {
            size_t k = POINTS - 1 - j;
            double sum = 0;
            for (size_t l = 0; l < POINTS; l++) {
                sum += value[s * POINTS + l] * vector[l * POINTS + k];
            }
            double unit = sqrt(fmax(eigenvalue[k], 1e-300));
            basis[s * extra + j] = fmax(-0x1p20, fmin(0x1p20, sum / unit));
        }
    }
    return NOF1_OK;
}

/* ---- what a search could find -----------------------------------------------------------------
 *
 * Sums of the total and of functions of it are exact, so they tell of the histogram of totals as
 * many bits as they hold, up to all of it. Both are counted for totals distributed as over the box.
 */

/* Bits of a whole number with this variance, that of a Poisson number where it is small. */
static double poisson_bits(double mean)
{
    double bits = 0, chance = exp(-mean);
    if (mean > 30) {
        return 0.5 * log2(2 * M_PI * M_E * mean);
    }
    for (double k = 0; k < 2 * mean + 30; k++) {
        bits -= chance > 0 ? chance * log2(chance) : 0;
        chance *= mean / (k + 1);
    }
    return bits;
}

static double step_bits(double variance)
{
    return fmax(0, 0.5 * log2(2 * M_PI * M_E * (variance + 1.0 / 12)));
}

/* Bits of the sums of `functions` functions, the first being the total: by variances given those
 * before. */
static double sums_bits(const struct glmm_class *c, size_t functions, size_t stride, double step)
{
    double mean[FUNCTIONS_MAX] = {0}, v[FUNCTIONS_MAX][FUNCTIONS_MAX] = {{0}}, all = 0, bits = 0;
    double g[FUNCTIONS_MAX];
    for (int pass = 0; pass < 2; pass++) {
        for (size_t s = 0; s < c->totals; s++) {
            all += pass == 0 ? c->likely[s] : 0;
            for (size_t i = 0; i < functions; i++) {
                g[i] = i == 0 ? (double)s : rint(c->basis[s * stride + i - 1] / step);
                mean[i] += pass == 0 ? c->likely[s] * g[i] : 0;
                for (size_t j = 0; j <= i && pass == 1; j++) {
                    v[i][j] += c->likely[s] / all * (g[i] - mean[i] / all) * (g[j] - mean[j] / all);
                }
            }
        }
    }
    for (size_t j = 0; j < functions; j++) {
        bits += step_bits((double)c->trials * v[j][j]);
        for (size_t i = functions - 1; i > j && v[j][j] > 1e-12; i--) {
            for (size_t k = j + 1; k <= i; k++) {
                v[i][k] -= v[i][j] * v[k][j] / v[j][j];
            }
        }
    }
    return bits;
}

static double open_bits(const struct glmm_class *c, size_t functions, size_t stride, double step)
{
    double all = 0, n = (double)c->trials, bits = -step_bits(n); /* their number is known */
    for (size_t s = 0; s < c->totals; s++) {
        all += c->likely[s];
    }
    for (size_t s = 0; s < c->totals; s++) {
        bits += poisson_bits(n * c->likely[s] / all);
    }
    return bits - sums_bits(c, functions, stride, step);
}

/* Round the first functions of every class to the step, and drop the others. */
static void round_basis(struct glmm_model *m, size_t functions, double step)
{
    size_t stride = m->functions - 1, extra = functions - 1;
    for (size_t c = 0; c < m->classes; c++) {
        double *basis = m->class_[c].basis;
        for (size_t s = 0; s < m->class_[c].totals; s++) {
            for (size_t j = 0; j < extra; j++) {
                basis[s * extra + j] = rint(basis[s * stride + j] / step) * step;
            }
        }
    }
    m->functions = functions;
    m->step = step;
}

/* As many functions as leave LEAST_BITS of every histogram open. False: not even the least do. */
static bool keep_open(struct glmm_model *m)
{
    static const double steps[] = {0.25, 0.5, 1};
    size_t stride = m->functions - 1;
    if (m->base.study->charter->limits.open || m->functions == 1) {
        round_basis(m, m->functions, OPEN_STEP);
        return true;
    }
    for (size_t k = m->functions, i = 0; i < 3;) {
        double least = INFINITY;
        for (size_t c = 0; c < m->classes; c++) {
            least = fmin(least, open_bits(&m->class_[c], k, stride, steps[i]));
        }
        if (least >= LEAST_BITS) {
            round_basis(m, k, steps[i]);
            return true;
        }
        i += k == FUNCTIONS_LEAST;
        k -= k > FUNCTIONS_LEAST;
    }
    return false;
}

/* ---- classes and budget -------------------------------------------------------------------- */

/* Charter classes with equal rows of both arms are one. False when they do not cover the trials. */
static bool find_classes(struct glmm_model *m, struct glmm_class *class_, bool exclude)
{
    const struct nof1_study *study = m->base.study;
    const struct nof1_charter *charter = study->charter;
    const struct nof1_outcome *o = &charter->outcome[study->plan->outcome];
    uint64_t covered = 0, least = charter->limits.open ? 1 : charter->limits.min_class_patients;
    size_t kept = 0;
    m->classes = 0;
    for (size_t c = 0; c < charter->classes; c++) {
        const struct nof1_class *plan = &charter->class_[c];
        char name[256];
        snprintf(name, sizeof name, "class:%s", plan->name);
        uint64_t trials = mixed_census(study, name);
        size_t a = plan->n[study->plan->reference], b = plan->n[study->plan->active], at = 0;
        if (trials == 0 || a == 0 || b == 0) {
            continue;
        }
        while (at < m->classes && (class_[at].n[0] != a || class_[at].n[1] != b)) {
            at++;
        }
        double most = m->family == GLMM_POISSON ? o->upper : 1;
        m->classes += at == m->classes;
        class_[at].n[0] = a;
        class_[at].n[1] = b;
        class_[at].trials += trials;
        class_[at].totals = (size_t)fmin(1e9, (double)(a + b) * most) + 1;
    }
    for (size_t c = 0; c < m->classes; c++) {
        if (class_[c].trials >= least && class_[c].totals <= TOTALS_MAX) {
            covered += class_[c].trials;
            class_[kept++] = class_[c];
        }
    }
    m->classes = kept;
    return kept > 0 && (exclude || covered == mixed_census(study, "trials"));
}

/* Rows of the active arm per row of the other: equal in all classes? */
static bool equal_shares(const struct glmm_model *m)
{
    for (size_t c = 1; c < m->classes; c++) {
        const size_t *n = m->class_[c].n, *first = m->class_[0].n;
        if (n[0] * first[1] != n[1] * first[0]) {
            return false;
        }
    }
    return true;
}

/* Functions per class that the release ratio pays for: all are functions of one number a trial, its
 * total. Correction rounds, whose sums tell every total, in an open lab only. False: too few. */
static bool afford(struct glmm_model *m)
{
    const struct nof1_study *study = m->base.study;
    const struct nof1_limits *limits = &study->charter->limits;
    uint64_t trials = 0;
    double room = FUNCTIONS_MAX, all = 1e9;
    for (size_t c = 0; c < m->classes && !limits->open; c++) { /* less than a histogram */
        room = fmin(room, (double)m->class_[c].totals - 3);
    }
    for (size_t c = 0; c < m->classes; c++) {
        trials += m->class_[c].trials;
    }
    double patients = (double)mixed_census(study, "patients");
    double share = fmin(1, patients / fmax(1, (double)mixed_census(study, "trials")));
    for (size_t c = 0; c < m->classes && !limits->open; c++) {
        room = fmin(room, floor(limits->max_release_ratio * share * (double)m->class_[c].trials));
    }
    if (!limits->open) {
        all = floor(limits->max_release_ratio * share * (double)trials);
        room = fmin(room, floor(all / (double)m->classes));
    }
    bool whole = true; /* as many functions as totals: nothing is approximated */
    for (size_t c = 0; c < m->classes; c++) {
        whole = whole && (double)m->class_[c].totals - 1 <= room;
    }
    if (room < FUNCTIONS_LEAST) {
        bool paid = all >= (double)m->classes;
        m->functions = m->family == GLMM_POISSON && paid && equal_shares(m) ? 1 : 0;
        m->base.max_rounds = 1;
        return m->functions > 0;
    }
    m->functions = (size_t)room;
    double most = limits->max_rounds_query > 0 ? limits->max_rounds_query : 1 + CORRECTIONS;
    m->base.max_rounds = whole || !limits->open ? 1 : (uint32_t)fmin(most, 1 + CORRECTIONS);
    return true;
}

nof1_rc_value glmm_class_prepare(struct glmm_model *m, struct nof1_arena *arena, bool exclude,
                                 bool *possible)
{
    const struct nof1_charter *charter = m->base.study->charter;
    struct glmm_class *class_ = nof1_arena_alloc(arena, charter->classes + 1, sizeof *class_);
    ENSURE(class_ != NULL, NOF1_E_NO_MEMORY);
    m->class_ = class_;
    *possible = m->family != GLMM_ORDINAL && !m->exposed && m->shape.effects == 1 &&
                m->design.columns == 2 && m->treatment_wanted && m->base.study->census != NULL &&
                find_classes(m, class_, exclude) && afford(m);
    if (!*possible) {
        return NOF1_OK;
    }
    const char **group = nof1_arena_alloc(arena, m->classes, sizeof *group);
    ENSURE(group != NULL, NOF1_E_NO_MEMORY);
    size_t most = 0;
    for (size_t c = 0; c < m->classes; c++) {
        most = class_[c].totals > most ? class_[c].totals : most;
    }
    m->functions = m->functions > most - 1 ? most - 1 : m->functions;
    if (m->functions < FUNCTIONS_LEAST && m->family == GLMM_BINOMIAL) {
        *possible = false; /* one row on each arm: two functions are all there are */
        return NOF1_OK;
    }
    for (size_t c = 0; c < m->classes; c++) {
        TRY(make_basis(&class_[c], m, arena));
    }
    if (!keep_open(m)) {
        *possible = m->family == GLMM_POISSON && equal_shares(m);
        if (!*possible) {
            return NOF1_OK;
        }
        m->functions = 1; /* the effect alone */
    }
    for (size_t c = 0; c < m->classes; c++) {
        group[c] = nof1_arena_printf(arena, "class:%zux%zu", class_[c].n[0], class_[c].n[1]);
        ENSURE(group[c] != NULL, NOF1_E_NO_MEMORY);
    }
    m->form = GLMM_CLASS;
    m->base.form = "class";
    m->base.group = group;
    m->base.groups = m->classes;
    m->base.group_is_class = true;
    m->base.max_elements = m->classes * m->functions + 1;
    m->base.max_elements = m->base.max_elements < 3 ? 3 : m->base.max_elements;
    return NOF1_OK;
}

/* ---- rounds -------------------------------------------------------------------------------- */

nof1_rc_value glmm_class_layout(const struct glmm_model *m, uint32_t round,
                                struct nof1_arena *arena, struct nof1_layout *out)
{
    static const char *const score[3] = {"score (Intercept)", "score treatment", "score 11"};
    size_t elements = round == 1 ? m->classes * m->functions + 1 : 3;
    struct nof1_element *e = nof1_arena_alloc(arena, elements, sizeof *e);
    ENSURE(e != NULL, NOF1_E_NO_MEMORY);
    *out = (struct nof1_layout){elements, e};
    for (size_t i = 0; i < elements && round > 1; i++) {
        e[i] = (struct nof1_element){.name = score[i], .role = NOF1_OUTCOME, .group = -1,
                                     .block_size = 1, .bound = 0x1p40,
                                     .quantum = glmm_quantum(m, 1)};
    }
    if (round > 1) {
        return NOF1_OK;
    }
    e[0] = (struct nof1_element){.name = "sum active", .role = NOF1_OUTCOME, .group = -1,
                                 .block = 1, .block_size = 1, .bound = TOTALS_MAX};
    for (size_t c = 0, at = 1; c < m->classes; c++) {
        for (size_t j = 0; j < m->functions; j++, at++) {
            const char *name = j == 0 ? nof1_arena_printf(arena, "%s/sum", m->base.group[c])
                                      : nof1_arena_printf(arena, "%s/function %zu",
                                                          m->base.group[c], j);
            ENSURE(name != NULL, NOF1_E_NO_MEMORY);
            e[at] = (struct nof1_element){.name = name, .role = NOF1_OUTCOME, .group = (int)c,
                                          .block_size = 1,
                                          .bound = j == 0 ? TOTALS_MAX : 0x1p21,
                                          .quantum = j == 0 ? 0 : m->step};
        }
    }
    return NOF1_OK;
}

int glmm_class_group_of(const struct glmm_model *m, const struct nof1_trial *trial, void *scratch)
{
    struct glmm_rows rows;
    (void)glmm_rows_of(&rows, m, trial, scratch);
    for (size_t c = 0; c < m->classes; c++) {
        if (rows.series.n[0] == m->class_[c].n[0] && rows.series.n[1] == m->class_[c].n[1]) {
            return (int)c;
        }
    }
    return NOF1_LEFT_OUT;
}

nof1_rc_value glmm_class_contribute(const struct glmm_model *m, uint32_t round, const double *theta,
                                    const struct nof1_trial *trial, void *scratch, double *out)
{
    struct glmm_rows rows;
    int group = glmm_class_group_of(m, trial, scratch);
    ENSURE(group >= 0, NOF1_E_BUG);
    ENSURE(glmm_rows_of(&rows, m, trial, scratch), NOF1_E2403);
    if (round > 1) {
        glmm_cells_of(&rows, m, scratch, trial->rows);
        double *jet = rows.memory + nof1_glmm_memory(&m->shape, rows.cells.cells) -
                      nof1_glmm_jet(m->parameters);
        ENSURE(glmm_jet_of(jet, m, &rows, theta), NOF1_E2403);
        memcpy(out, jet + 1, 3 * sizeof *out);
        return NOF1_OK;
    }
    const struct glmm_class *c = &m->class_[group];
    size_t total = 0, extra = m->functions - 1;
    memset(out, 0, (m->classes * m->functions + 1) * sizeof *out);
    for (size_t i = 0; i < rows.series.rows; i++) {
        out[0] += rows.series.arm[i] != 0 ? rows.outcome[i] : 0;
        total += (size_t)rows.outcome[i];
    }
    ENSURE(total < c->totals, NOF1_E2403);
    double *own = out + 1 + (size_t)group * m->functions;
    own[0] = (double)total;
    memcpy(own + 1, c->basis + total * extra, extra * sizeof *own);
    return NOF1_OK;
}
