#!/usr/bin/env perl
# Describes what the quickstart ran, for `trivium report --pipeline` (runtime/report/pipeline.h says the format).
#
# usage: samples/quickstart/describe.pl --run RUN --text FILE --xz BITS [--people yes]
#        samples/quickstart/describe.pl --run RUN --summary yes     what was measured, in words
#
# Reads the JSON lines in RUN/results, the sizes of the files in RUN/data, and the answers; assumes no figure. With --summary
# the exit code is 1 where a bound was missed.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Sample;

my %option = options(run => undef, text => '', xz => '', people => '', summary => '');
my $run = $option{run};
binmode STDOUT, ':utf8';

sub result { my @lines = json_lines("$run/results/$_[0].json"); return $lines[0]; }
sub lines { my @lines = split /\n/, read_file($_[0]); return scalar @lines; }
sub percent { return defined $_[0] ? sprintf '%.1f %%', 100 * $_[0] : 'unknown'; }
sub size { my $bytes = -s $_[0]; return sprintf '%.1f MB', $bytes / 1e6; }

my ($form_base, $form_tuned, $form_aligned) = map { result("form_$_") } qw(base tuned aligned);
my ($score, $agreement, $wins) = map { result($_) } qw(score agreement wins);
my ($bigrams_tuned, $bigrams_aligned) = map { result("bigrams_$_") } qw(tuned aligned);
my @held_out = json_lines("$run/held_out/metrics.jsonl");
my $kl = $held_out[-1]{'objective/kl'};

my @checks = (
    {what => 'of the fine-tuned model\'s answers follow the form', value => $form_tuned->{share}, relation => 'at least', bound => 0.95,
        percent => JSON::PP::true, detail => "$form_tuned->{answers} prompts that no stage saw"},
    {what => 'of the base model\'s do', value => $form_base->{share}, relation => 'at most', bound => 0.2, percent => JSON::PP::true},
    {what => 'of held-out pairs are ordered by the reward model as by their annotator', value => $score->{accuracy},
        relation => 'at least', bound => $agreement->{share} // 0.75, percent => JSON::PP::true, detail => 'as often as two annotators agree'},
    {what => 'of comparisons won by the aligned model against the fine-tuned one, ties half', value => $wins->{share},
        relation => 'at least', bound => 0.75, percent => JSON::PP::true, detail => 'judge without noise'},
    {what => 'nats of KL per answer from the fine-tuned model', value => $kl, relation => 'at most', bound => 15},
    {what => 'as many different bigrams as in the fine-tuned model\'s answers',
        value => $bigrams_aligned->{share} / $bigrams_tuned->{share}, relation => 'at least', bound => 0.8, percent => JSON::PP::true},
);

if ($option{summary}) {
    my $missed = 0;
    for my $check (@checks) {
        my $held = $check->{relation} eq 'at least' ? $check->{value} >= $check->{bound} : $check->{value} <= $check->{bound};
        $missed++ if !$held;
        my ($value, $bound) = map { $check->{percent} ? percent($_) : sprintf '%.1f', $_ } $check->{value}, $check->{bound};
        printf "%s %9s %s (%s %s)\n", $held ? ' ok    ' : ' MISSED', $value, $check->{what}, $check->{relation}, $bound;
    }
    exit($missed ? 1 : 0);
}

# Five prompts with an answer of each model, and the judge's scores where it compared them.
sub five_answers {
    my %answers;
    my @policies = (['base', 'base model'], ['tuned', 'fine-tuned'], ['aligned', 'aligned']);
    for my $policy (@policies) {
        $answers{$policy->[0]}{$_->{id}} = $_ for json_lines("$run/answers_$policy->[0].jsonl");
    }
    my @prompts = json_lines("$run/data/test_prompts.jsonl");
    my @items = map {
        my $id = $_->{id};
        {prompt => $_->{prompt}, answers => [map { $answers{$_->[0]}{$id}{responses}[0]{text} } @policies]}
    } @prompts[0 .. 4];
    return {policies => [map { $_->[1] } @policies], items => \@items};
}

my $answers = result('answers');
my ($bits, $sample, $prefs) = map { result($_) } qw(bits sample prefs);
my $who = $option{people} ? 'people' : 'simulated annotators';
my %agreement = (
    'of pairs that both put in an order, put in the same' => percent($agreement->{share}),
    'of held-out pairs, ordered so by the reward model' => percent($score->{accuracy}),
);
my $all = $prefs->{agreement}{all};
$agreement{'of all pairs, ties half'} = percent($all->{agreement}) if $all && defined $all->{agreement};
for my $key (['alpha', "Krippendorff's alpha"], ['tau', "Kendall's tau-b"]) {
    $agreement{$key->[1]} = sprintf '%.2f', $all->{$key->[0]} if $all && defined $all->{$key->[0]};
}

print json_line({
    title => 'Three stages, one small model',
    intro => 'It learns to write from books, to end a sentence and stop from examples, and to please from rankings.'
        . ($option{people} ? '' : ' The annotators are simulated: a program ranks by the ratings that people gave to single words.'),
    boxes => {
        text => {facts => {paragraphs => $answers->{documents}, size => size($option{text})}, files => ["$run/data/train.txt"]},
        pretrain => {run => "$run/pretrain"},
        base => {facts => {'bits per byte' => sprintf('%.2f', $bits->{bits_per_byte}), 'for xz -9' => sprintf('%.2f', $option{xz}),
                'follow the form' => percent($form_base->{share})}, files => ["$run/answers_base.jsonl"]},
        examples => {facts => {examples => $answers->{examples}, 'held out' => $answers->{validation}},
            files => ["$run/data/sft.jsonl", "$run/data/sft_val.jsonl"]},
        sft => {run => "$run/sft"},
        tuned => {facts => {'follow the form' => percent($form_tuned->{share})}, files => ["$run/answers_tuned.jsonl"]},
        prompts => {facts => {prompts => $answers->{prompts}, 'to test with' => $answers->{tests}},
            files => ["$run/data/prompts.jsonl", "$run/data/test_prompts.jsonl"]},
        sample => {facts => {prompts => $sample->{prompts}, candidates => $sample->{responses}}, files => ["$run/candidates.jsonl"]},
        rank => {title => $option{people} ? 'People rank' : 'Simulated annotators rank',
            facts => {judgments => $agreement->{judgments}, agree => percent($agreement->{share})}, files => ["$run/rankings.jsonl"]},
        prefs => {facts => {pairs => $prefs->{pairs}, 'lists to train on' => $prefs->{lines}, 'lists held out' => $prefs->{val_lines}},
            files => ["$run/prefs.jsonl", "$run/prefs_val.jsonl"]},
        reward => {run => "$run/reward", facts => {'of held-out pairs in order' => percent($score->{accuracy})}},
        ppo => {run => "$run/ppo"},
        aligned => {facts => {wins => percent($wins->{share}), 'KL per answer' => sprintf('%.1f', $kl),
                'follow the form' => percent($form_aligned->{share})}, files => ["$run/answers_aligned.jsonl", "$run/compared.jsonl"]},
    },
    checks => \@checks,
    answers => five_answers(),
    tables => [{title => "Do the $who agree?", note => 'Published agreement of people lies between 63 and 77 %; a reward model far above it suggests a leak.',
        rows => \%agreement}],
});
