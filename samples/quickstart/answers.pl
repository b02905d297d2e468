#!/usr/bin/env perl
# Cuts a plain text into what the stages need: text to pretrain on, prompts with ideal answers, prompts alone.
# A prompt is the opening of a sentence, the ideal answer is how its author went on: one sentence, then the end.
#
# usage: samples/quickstart/answers.pl --text FILE --out DIR
#   --held-out BYTES   the end of the text that no stage sees (default: 196608)
#   --examples N       prompts with answers (default: 3000), a twentieth of them for validation
#   --prompts N        prompts without (default: 2000)
#   --tests N          prompts from the held-out text (default: 200)
#   --seed N           of the draw (default: 1)
#
# Writes train.txt and heldout.txt (a paragraph a line), sft.jsonl and sft_val.jsonl ({"prompt","completion"}),
# prompts.jsonl and test_prompts.jsonl ({"id","prompt"}), and prints one line of JSON that counts them. No sentence is in two files, except
# that train.txt holds all but the held-out ones.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Sample;

my %option = options(text => undef, out => undef, 'held-out' => 196608, examples => 3000, prompts => 2000, tests => 200, seed => 1);

# Lengths in characters: an opening says enough to go on from, an answer fits well into 40 tokens.
my ($prompt_least, $prompt_most, $answer_least, $answer_most) = (12, 50, 30, 75);

my $text = read_file($option{text});
$text =~ s/\r\n?/\n/g;
my @paragraphs = grep { length } map { s/\s+/ /gr =~ s/^ | $//gr } split /\n\s*\n/, $text;

# The held-out end begins with a paragraph.
my ($bytes, $first_held_out) = (0, scalar @paragraphs);
while ($first_held_out > 0 && $bytes < $option{'held-out'}) {
    $bytes += 1 + length $paragraphs[--$first_held_out];
}
my @seen = @paragraphs[0 .. $first_held_out - 1];
my @unseen = @paragraphs[$first_held_out .. $#paragraphs];
write_file("$option{out}/train.txt", map { "$_\n" } @seen);
write_file("$option{out}/heldout.txt", map { "$_\n" } @unseen);

# Sentences of plain narration: no quotation, no bracket, no number, nothing that only its neighbours explain.
sub sentences {
    my %known;
    my @found;
    for my $paragraph (@_) {
        for my $sentence (split_sentences($paragraph)) {
            next if $sentence !~ /^\p{Lu}[\p{L}\p{M}',;: -]+[.!?]$/ && $sentence !~ /^\p{Lu}(?:[\p{L}\p{M}',;: -]|(?:$abbreviations)\.)+[.!?]$/;
            next if $sentence =~ /--/;
            my @words = split / /, $sentence;
            next if $known{join ' ', @words[0 .. ($#words < 3 ? $#words : 3)]}++;
            push @found, $sentence;
        }
    }
    return @found;
}

# Cuts at a word drawn among those that leave both parts within their lengths.
sub cut {
    my ($sentence) = @_;
    my @places;
    while ($sentence =~ / /g) {
        my $before = pos($sentence) - 1;
        my $after = length($sentence) - $before;
        push @places, $before
            if $before >= $prompt_least && $before <= $prompt_most && $after >= $answer_least && $after <= $answer_most;
    }
    return () if !@places;
    my $at = $places[rand @places];
    return (substr($sentence, 0, $at), substr $sentence, $at);
}

sub shuffled {
    my @list = @_;
    for my $i (reverse 1 .. $#list) {
        my $j = int rand $i + 1;
        @list[$i, $j] = @list[$j, $i];
    }
    return @list;
}

sub cuttable {
    my @pairs;
    for my $sentence (shuffled(sentences(@_))) {
        my ($prompt, $answer) = cut($sentence);
        push @pairs, {prompt => $prompt, completion => $answer} if defined $prompt && follows_form($answer, 'eos');
    }
    return @pairs;
}

srand $option{seed};
my @pairs = cuttable(@seen);
my @tests = cuttable(@unseen);
my $wanted = $option{examples} + $option{prompts};
fail("$option{text} holds " . @pairs . " sentences that can be cut and its last $option{'held-out'} bytes " . @tests .
    "; at least " . int($wanted / 4) . " and 50 are needed: use a longer text of whole sentences")
    if @pairs < $wanted / 4 || @tests < 50;
# A text with fewer sentences gives less of both.
my $share = @pairs < $wanted ? @pairs / $wanted : 1;
my $examples = int $option{examples} * $share;
my $validation = int $examples / 20;
my @examples = splice @pairs, 0, $examples;
my @prompts = splice @pairs, 0, int $option{prompts} * $share;
@tests = @tests[0 .. $option{tests} - 1] if @tests > $option{tests};

sub as_prompts {
    my $name = shift;
    my $number = 0;
    return map { json_line({id => $name . ++$number, prompt => $_->{prompt}}) } @_;
}

write_file("$option{out}/sft_val.jsonl", map { json_line($_) } splice @examples, 0, $validation);
write_file("$option{out}/sft.jsonl", map { json_line($_) } @examples);
write_file("$option{out}/prompts.jsonl", as_prompts('p', @prompts));
write_file("$option{out}/test_prompts.jsonl", as_prompts('t', @tests));
print json_line({documents => scalar(@seen), examples => scalar(@examples),
    validation => $validation, prompts => scalar(@prompts), tests => scalar(@tests)});
