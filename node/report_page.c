/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One patient's result as one HTML page: no script, no font, image or link from elsewhere, so that
 * it can be read, printed and kept without a network. Figures are SVG with titles, descriptions and
 * a table beside them; arms differ in shape as well as in shade. Also the same as JSON.
 */
#include <node/report.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <base/json.h>

#define LEFT 60.0
#define RIGHT 620.0

static const char style[] =
    "body{font:16px/1.5 sans-serif;color:#111;background:#fff;max-width:46em;margin:2em auto;"
    "padding:0 1em}h1{font-size:1.5em}h2{font-size:1.15em;margin-top:1.6em}"
    "table{border-collapse:collapse;margin:.6em 0}th,td{border:1px solid #555;padding:.25em .6em;"
    "text-align:right}th[scope=row],td.text,th.text{text-align:left}caption{text-align:left;"
    "font-weight:bold;padding:.3em 0}svg{max-width:100%;height:auto}.answer{border-left:.4em solid "
    "#005a9c;padding:.2em 1em;background:#f2f7fb}.note{color:#333}"
    "@media print{body{margin:0;max-width:none;font-size:11pt}.answer{background:#fff}"
    "h2,table,svg{break-inside:avoid}}";

static nof1_rc put(struct nof1_buffer *out, const char *text)
{
    return nof1_buffer_append(out, text, strlen(text));
}

/* Text of the data, escaped. */
static nof1_rc put_text(struct nof1_buffer *out, const char *text)
{
    for (; *text != '\0'; text++) {
        const char *escaped = *text == '<'   ? "&lt;"
                              : *text == '>' ? "&gt;"
                              : *text == '&' ? "&amp;"
                              : *text == '"' ? "&quot;"
                                             : NULL;
        TRY(escaped == NULL ? nof1_buffer_append(out, text, 1) : put(out, escaped));
    }
    return NOF1_OK;
}

/* ---- the answer in words ---- */

/* "97 in 100", never 0 or 100. */
static const char *chance_text(char out[32], double chance)
{
    if (isnan(chance)) {
        snprintf(out, 32, "not known");
    } else if (chance > 0.995) {
        snprintf(out, 32, "more than 99 in 100");
    } else if (chance < 0.005) {
        snprintf(out, 32, "less than 1 in 100");
    } else {
        snprintf(out, 32, "about %.0f in 100", 100.0 * chance);
    }
    return out;
}

static nof1_rc put_answer(struct nof1_buffer *out, const struct nof1_report *r)
{
    char chance[32];
    TRY(put(out, "<div class=\"answer\"><p>In this patient, <strong>"));
    TRY(put_text(out, r->outcome));
    TRY(nof1_buffer_printf(out, "</strong> is estimated to be <strong>%.3g ", fabs(r->mean)));
    TRY(put_text(out, r->unit));
    TRY(put(out, r->mean < 0.0 ? " lower</strong> on " : " higher</strong> on "));
    TRY(put_text(out, r->active));
    TRY(put(out, " than on "));
    TRY(put_text(out, r->reference));
    TRY(nof1_buffer_printf(out, "; with a probability of %.0f in 100 the difference lies between "
                                "%.3g and %.3g.</p>",
                           100.0 * r->level, r->low, r->high));
    if (r->benefit == 0) {
        return put(out, "<p>The study does not say which direction is better.</p></div>\n");
    }
    TRY(put(out, "<p>The chance that "));
    TRY(put_text(out, r->active));
    TRY(nof1_buffer_printf(out, " is better for this patient is <strong>%s</strong>",
                           chance_text(chance, r->benefit_chance)));
    if (r->mcid > 0.0) {
        TRY(nof1_buffer_printf(out, "; that it is better by at least %.3g, the smallest difference "
                                    "that matters, <strong>%s</strong>",
                               r->mcid, chance_text(chance, r->mcid_chance)));
    }
    return put(out, ".</p></div>\n");
}

/* ---- figures ---- */

struct scale { double low, high, from, to; };

static double place(const struct scale *s, double value)
{
    return s->from + (value - s->low) / (s->high - s->low) * (s->to - s->from);
}

/* Low and high with a margin, never equal. */
static void widen(struct scale *s)
{
    double gap = s->high - s->low;
    double margin = gap > 0.0 ? 0.08 * gap : fmax(1.0, 0.1 * fabs(s->low));
    s->low -= margin;
    s->high += margin;
}

static nof1_rc put_label(struct nof1_buffer *out, double x, double y, const char *anchor,
                         const char *text)
{
    TRY(nof1_buffer_printf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor));
    TRY(put_text(out, text));
    return put(out, "</text>\n");
}

static nof1_rc put_period(struct nof1_buffer *out, const struct nof1_report_period *p, double x,
                          double y, double half)
{
    TRY(nof1_buffer_printf(out, "<rect x=\"%.1f\" y=\"20\" width=\"%.1f\" height=\"200\" "
                                "fill=\"%s\"/>",
                           x - half, 2.0 * half, p->arm == 1 ? "#cfe2f3" : "#f4f4f4"));
    if (p->arm == 1) {
        return nof1_buffer_printf(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"10\" height=\"10\" "
                                       "fill=\"#005a9c\"/>\n", x - 5.0, y - 5.0);
    }
    return nof1_buffer_printf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"5\" fill=\"#fff\" "
                                   "stroke=\"#111\" stroke-width=\"2\"/>\n", x, y);
}

static nof1_rc put_periods(struct nof1_buffer *out, const struct nof1_report *r)
{
    struct scale y = {INFINITY, -INFINITY, 220.0, 20.0};
    char text[64];
    for (size_t i = 0; i < r->periods; i++) {
        y.low = fmin(y.low, r->period[i].mean);
        y.high = fmax(y.high, r->period[i].mean);
    }
    double least = y.low, most = y.high;
    widen(&y);
    TRY(put(out,
            "<svg role=\"img\" aria-labelledby=\"t1 d1\" viewBox=\"0 0 640 270\" width=\"640\" "
            "height=\"270\" font-size=\"13\"><title id=\"t1\">Values by period</title>"
            "<desc id=\"d1\">One mark a period in order of time; circles: "));
    TRY(put_text(out, r->reference));
    TRY(put(out, ", squares on a shaded ground: "));
    TRY(put_text(out, r->active));
    TRY(put(out, ". The table below has the same numbers.</desc>\n"));
    TRY(nof1_buffer_printf(out, "<text x=\"%.0f\" y=\"13\">", LEFT));
    TRY(put_text(out, r->outcome));
    TRY(put(out, r->unit[0] == '\0' ? "" : ", "));
    TRY(put_text(out, r->unit));
    TRY(put(out, "</text>\n"));
    double half = 0.5 * (RIGHT - LEFT) / (double)r->periods;
    for (size_t i = 0; i < r->periods; i++) {
        double x = LEFT + half * (2.0 * (double)i + 1.0);
        TRY(put_period(out, &r->period[i], x, place(&y, r->period[i].mean), half));
    }
    snprintf(text, sizeof text, "%.4g", most);
    TRY(put_label(out, LEFT - 8.0, place(&y, most) + 4.0, "end", text));
    snprintf(text, sizeof text, "%.4g", least);
    TRY(put_label(out, LEFT - 8.0, place(&y, least) + 4.0, "end", text));
    TRY(put(out, "<circle cx=\"70\" cy=\"248\" r=\"5\" fill=\"#fff\" stroke=\"#111\" "
                 "stroke-width=\"2\"/><rect x=\"345\" y=\"243\" width=\"10\" height=\"10\" "
                 "fill=\"#005a9c\"/>\n"));
    TRY(put_label(out, RIGHT, 236.0, "end", "periods in order of time"));
    TRY(put_label(out, 82.0, 252.0, "start", r->reference));
    TRY(put_label(out, 362.0, 252.0, "start", r->active));
    return put(out, "</svg>\n");
}

static nof1_rc put_interval(struct nof1_buffer *out, const struct scale *x, double y,
                            const char *label, double mean, double low, double high, bool strong)
{
    TRY(put_label(out, 10.0, y - 12.0, "start", label));
    TRY(nof1_buffer_printf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" "
                                "stroke=\"%s\" stroke-width=\"%d\"/>",
                           place(x, low), y, place(x, high), y, strong ? "#005a9c" : "#333",
                           strong ? 4 : 2));
    return nof1_buffer_printf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"6\" fill=\"%s\"/>\n",
                              place(x, mean), y, strong ? "#005a9c" : "#333");
}

static nof1_rc put_line(struct nof1_buffer *out, const struct scale *x, double at,
                        const char *dash, const char *label, double y)
{
    TRY(nof1_buffer_printf(out,
                           "<line x1=\"%.1f\" y1=\"20\" x2=\"%.1f\" y2=\"200\" stroke=\"#111\" "
                           "stroke-dasharray=\"%s\"/>\n",
                           place(x, at), place(x, at), dash));
    return put_label(out, place(x, at), y, "middle", label);
}

static nof1_rc put_effects(struct nof1_buffer *out, const struct nof1_report *r)
{
    struct scale x = {fmin(fmin(r->own_low, r->others_low), fmin(r->low, 0.0)),
                      fmax(fmax(r->own_high, r->others_high), fmax(r->high, 0.0)), 20.0, RIGHT};
    char text[64];
    double limit = (double)r->benefit * r->mcid;
    x.low = fmin(x.low, limit);
    x.high = fmax(x.high, limit);
    widen(&x);
    TRY(put(out,
            "<svg role=\"img\" aria-labelledby=\"t2 d2\" viewBox=\"0 0 640 250\" width=\"640\" "
            "height=\"250\" font-size=\"13\"><title id=\"t2\">The difference with its "
            "uncertainty</title><desc id=\"d2\">Three intervals: the patient alone, the patient "
            "together with what other patients tell, and patients on average. The table below "
            "has the same numbers.</desc>\n"));
    TRY(put_line(out, &x, 0.0, "4 3", "0 (no difference)", 216.0));
    if (limit != 0.0) {
        snprintf(text, sizeof text, "%.3g (smallest that matters)", limit);
        TRY(put_line(out, &x, limit, "1 3", text, 236.0));
    }
    TRY(put_interval(out, &x, 60.0, "this patient alone", r->own, r->own_low, r->own_high, false));
    TRY(put_interval(out, &x, 115.0, "this patient, with what other patients tell", r->mean, r->low,
                     r->high, true));
    TRY(put_interval(out, &x, 170.0, "patients on average", r->others, r->others_low,
                     r->others_high, false));
    return put(out, "</svg>\n");
}

/* ---- tables ---- */

static nof1_rc put_row(struct nof1_buffer *out, const char *name, double mean, double low,
                       double high)
{
    double width = high - low; /* two digits of it */
    int digits = width > 0.0 ? (int)fmin(9.0, fmax(0.0, 1.0 - floor(log10(width)))) : 3;
    return nof1_buffer_printf(out, "<tr><th scope=\"row\">%s</th><td>%.*f</td><td>%.*f</td>"
                                   "<td>%.*f</td></tr>\n", name, digits, mean, digits, low, digits,
                              high);
}

static nof1_rc put_effect_table(struct nof1_buffer *out, const struct nof1_report *r)
{
    TRY(put(out, "<table><caption>Difference, "));
    TRY(put_text(out, r->active));
    TRY(put(out, " minus "));
    TRY(put_text(out, r->reference));
    TRY(put(out, ": below 0 means lower on "));
    TRY(put_text(out, r->active));
    TRY(put(out, r->benefit == 0 ? "" : r->benefit < 0 ? ", which is better" : ", which is worse"));
    TRY(nof1_buffer_printf(out, "</caption>\n<tr><th scope=\"col\" class=\"text\">from</th>"
                                "<th scope=\"col\">estimate</th><th scope=\"col\">low (%.0f %%)"
                                "</th><th scope=\"col\">high</th></tr>\n", 100.0 * r->level));
    TRY(put_row(out, "this patient alone", r->own, r->own_low, r->own_high));
    TRY(put_row(out, "this patient, with what others tell", r->mean, r->low, r->high));
    TRY(put_row(out, "patients on average", r->others, r->others_low, r->others_high));
    return put(out, "</table>\n");
}

static nof1_rc put_period_table(struct nof1_buffer *out, const struct nof1_report *r)
{
    TRY(put(out, "<table><caption>Values by period</caption>\n<tr><th scope=\"col\">cycle</th>"
                 "<th scope=\"col\">period</th><th scope=\"col\">treatment</th><th scope=\"col\">"
                 "mean</th><th scope=\"col\">number of values</th></tr>\n"));
    for (size_t i = 0; i < r->periods; i++) {
        const struct nof1_report_period *p = &r->period[i];
        TRY(nof1_buffer_printf(out, "<tr><td>%d</td><td>%d</td><td class=\"text\">", p->cycle,
                               p->period));
        TRY(put_text(out, p->arm == 1 ? r->active : r->reference));
        TRY(nof1_buffer_printf(out, "</td><td>%.4g</td><td>%zu</td></tr>\n", p->mean, p->rows));
    }
    return put(out, "</table>\n");
}

nof1_rc_value nof1_report_page(struct nof1_buffer *out, const struct nof1_report *r)
{
    TRY(put(out, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                 "<meta name=\"viewport\" content=\"width=device-width\">"
                 "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                 "style-src 'unsafe-inline'\"><title>N-of-1 trial of "));
    TRY(put_text(out, r->patient));
    TRY(nof1_buffer_printf(out, "</title><style>%s</style></head><body><main>\n<h1>", style));
    TRY(put_text(out, r->patient));
    TRY(put(out, ": "));
    TRY(put_text(out, r->active));
    TRY(put(out, " compared with "));
    TRY(put_text(out, r->reference));
    TRY(put(out, "</h1>\n"));
    TRY(put_answer(out, r));
    TRY(put(out, "<h2>What was measured</h2>\n"));
    TRY(put_periods(out, r));
    TRY(put_period_table(out, r));
    TRY(put(out, "<h2>What it says</h2>\n"));
    TRY(put_effects(out, r));
    TRY(put_effect_table(out, r));
    TRY(nof1_buffer_printf(
        out,
        "<p class=\"note\">A single trial is short, so chance moves its result. The second row "
        "therefore also uses how patients like this one did on average: here their share is "
        "%.0f %%, and this patient's own values have %.0f %%. It is the better guess of what "
        "this patient can expect.</p>\n",
        100.0 * r->borrowed, 100.0 * (1.0 - r->borrowed)));
    return put(out,
               "<p class=\"note\">Made at this hospital for the treating clinician. It shows one "
               "patient's data, belongs to the patient's record, and is not sent to "
               "anyone.</p>\n</main></body></html>\n");
}

nof1_rc_value nof1_report_json(struct nof1_buffer *out, const struct nof1_report *r)
{
    json_t *periods = json_array();
    for (size_t i = 0; i < r->periods; i++) {
        const struct nof1_report_period *p = &r->period[i];
        json_array_append_new(periods, json_pack("{s:i,s:i,s:s,s:o,s:I}", "cycle", (int)p->cycle,
                                                 "period", (int)p->period, "treatment",
                                                 p->arm == 1 ? r->active : r->reference, "mean",
                                                 nof1_json_number(p->mean), "rows",
                                                 (json_int_t)p->rows));
    }
    NOF1_CLEANUP(nof1_json_freep)
    json_t *object = json_pack(
        "{s:s,s:s,s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "patient",
        r->patient, "outcome", r->outcome, "reference", r->reference, "active", r->active, "own",
        nof1_json_number(r->own), "own.low", nof1_json_number(r->own_low), "own.high",
        nof1_json_number(r->own_high), "estimate", nof1_json_number(r->mean), "sd",
        nof1_json_number(r->sd), "low", nof1_json_number(r->low), "high",
        nof1_json_number(r->high), "others", nof1_json_number(r->others), "borrowed",
        nof1_json_number(r->borrowed), "benefit", nof1_json_number(r->benefit_chance),
        "benefit.mcid", nof1_json_number(r->mcid_chance), "mcid", nof1_json_number(r->mcid),
        "periods", periods);
    ENSURE(object != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_json_write(out, object, true));
    return put(out, "\n");
}
