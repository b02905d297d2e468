#!/usr/bin/env perl
# Writes the sums of the sample: of all a+b with two digits each, some are held out, and no sum is in both.
#
# usage: samples/arithmetic/sums.pl --out DIR [--held-out N] [--wrong SHARE] [--seed N]
#
# train.txt: "23+45=68" lines to pretrain on; sft.jsonl: {"prompt": "23+45=", "completion": "68"}, a share of which is wrong by up to 20;
# prompts.jsonl and held_out.jsonl: {"prompt", "answer"} of the sums that are trained on and of those that are not.
use strict;
use warnings;

my %option = (out => undef, 'held-out' => 256, wrong => 0.4, seed => 1);
while (@ARGV) {
    my $name = shift;
    die "usage: $0 --out DIR [--held-out N] [--wrong SHARE] [--seed N]\n" unless $name =~ /^--(.*)/ && exists $option{$1} && @ARGV;
    $option{$1} = shift;
}
die "$0: --out DIR is missing\n" unless defined $option{out};
srand $option{seed};

my @sums;
for my $a (10 .. 99) { push @sums, [$a, $_] for 10 .. 99 }
for my $i (reverse 1 .. $#sums) {
    my $j = int rand($i + 1);
    @sums[$i, $j] = @sums[$j, $i];
}

sub lines {
    my ($name, $line, @of) = @_;
    open my $file, '>', "$option{out}/$name" or die "$0: $option{out}/$name: $!\n";
    print $file $line->(@$_), "\n" for @of;
    close $file or die "$0: $option{out}/$name: $!\n";
}
my @held = splice @sums, 0, $option{'held-out'};
my $prompt = sub { sprintf '{"prompt": "%d+%d=", "answer": %d}', @_, $_[0] + $_[1] };
lines('train.txt', sub { sprintf '%d+%d=%d', @_, $_[0] + $_[1] }, @sums);
lines('sft.jsonl', sub {
    my $off = 0;
    if (rand() < $option{wrong}) { $off = int(rand(41)) - 20 while $off == 0 }
    sprintf '{"prompt": "%d+%d=", "completion": "%d"}', @_, $_[0] + $_[1] + $off;
}, @sums);
lines('prompts.jsonl', $prompt, @sums);
lines('held_out.jsonl', $prompt, @held);
