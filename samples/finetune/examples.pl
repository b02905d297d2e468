#!/usr/bin/env perl
# Makes up examples to fine-tune on where nobody has any at hand: four words, and three sentences that tell of them.
# "Tom, frog, farm, hat:" is answered by " Tom had a frog. They went to the farm and found a hat. ..."
#
# usage: samples/finetune/examples.pl --out DIR [--examples N] [--held-out N] [--seed N]
#
# Writes train.jsonl (500 unless told) and held_out.jsonl (60), {"prompt", "completion"} lines, and prompts.jsonl, the prompts of the
# held-out ones. No four words are in both.
use strict;
use warnings;

my %option = (out => undef, examples => 500, 'held-out' => 60, seed => 1);
while (@ARGV) {
    my $name = shift;
    die "usage: $0 --out DIR [--examples N] [--held-out N] [--seed N]\n" unless $name =~ /^--(.*)/ && exists $option{$1} && @ARGV;
    $option{$1} = shift;
}
die "$0: --out DIR is missing\n" unless defined $option{out};
srand $option{seed};

my @names = qw(Tim Lily Tom Sara Ben Mia Max Anna Sam Lucy Jack Amy);
my @pets = qw(dog cat bird frog fish bear cow duck mouse bunny);
my @places = qw(park house garden forest beach farm);
my @things = qw(ball toy book hat cake car flower box);
my @all;
for my $name (@names) {
    for my $pet (@pets) {
        for my $place (@places) {
            push @all, map { [$name, $pet, $place, $_] } @things;
        }
    }
}
my $wanted = $option{examples} + $option{'held-out'};
die "$0: $wanted examples were asked for and there are " . @all . "\n" if $wanted > @all;
for my $i (reverse 1 .. $#all) {
    my $j = int rand($i + 1);
    @all[$i, $j] = @all[$j, $i];
}

sub write_lines {
    my ($file, @lines) = @_;
    open my $out, '>', "$option{out}/$file" or die "$0: $option{out}/$file: $!\n";
    print $out @lines;
    close $out or die "$0: $option{out}/$file: $!\n";
}

sub example {
    my ($name, $pet, $place, $thing) = @{$_[0]};
    my $prompt = "\"prompt\": \"$name, $pet, $place, $thing:\"";
    return ("{$prompt, \"completion\": \" $name had a $pet. They went to the $place and found a $thing. $name and the $pet were happy.\"}\n",
        "{$prompt}\n");
}

my @train = splice @all, 0, $option{examples};
my @held_out = splice @all, 0, $option{'held-out'};
write_lines('train.jsonl', map { (example($_))[0] } @train);
write_lines('held_out.jsonl', map { (example($_))[0] } @held_out);
write_lines('prompts.jsonl', map { (example($_))[1] } @held_out);
