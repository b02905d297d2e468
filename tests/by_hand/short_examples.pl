#!/usr/bin/env perl
# 500 short examples of a form that a book does not have, to fine-tune on with the defaults: who said what in a novel.
#
# usage: tests/by_hand/short_examples.pl --text FILE --out DIR
#   --examples N       to train on (default: 500)
#   --validation N     held out (default: 60)
#
# Writes short.jsonl and short_val.jsonl ({"prompt","completion"}) and short_prompts.jsonl ({"id","prompt"}), the prompts of the latter.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../samples/quickstart";
use Sample;

my %option = options(text => undef, out => undef, examples => 500, validation => 60);
my $text = read_file($option{text}) =~ s/\s+/ /gr;
my (@found, %known);
while ($text =~ /"([\p{L}][^"]{10,60})[,!?]" (?:said|cried|replied) ((?:Mr|Mrs|Miss|Sir|Lady)\.? \p{Lu}\p{L}+|\p{Lu}\p{L}+)/g) {
    my ($words, $who) = ($1, $2);
    push @found, {prompt => "Who said: $words?", completion => " It was $who who said it."} if !$known{$words}++;
}
my $wanted = $option{examples} + $option{validation};
fail("$option{text} holds " . @found . " sayings with their speaker; $wanted are needed") if @found < $wanted;
# Evenly spaced over the text, so that every part of it is in both.
my @chosen = map { $found[int $_ * @found / $wanted] } 0 .. $wanted - 1;
my $every = int $wanted / $option{validation};
my @validation = map { $chosen[$_] } grep { $_ % $every == 0 } 0 .. $#chosen;
splice @validation, $option{validation};
my %held_out = map { $_->{prompt} => 1 } @validation;
write_file("$option{out}/short.jsonl", map { json_line($_) } grep { !$held_out{$_->{prompt}} } @chosen);
write_file("$option{out}/short_val.jsonl", map { json_line($_) } @validation);
my $number = 0;
write_file("$option{out}/short_prompts.jsonl", map { json_line({id => 'v' . ++$number, prompt => $_->{prompt}}) } @validation);
print json_line({found => scalar(@found), examples => @chosen - @validation, validation => scalar(@validation)});
