#!/usr/bin/env perl
# What the quickstart measures of candidates (files that `trivium sample` writes) and of judgments.
#
# usage: samples/quickstart/measure.pl form CANDIDATES       the share of answers that follow the form
#        samples/quickstart/measure.pl pair ONE OTHER        candidates of two answers each, the first of ONE and of OTHER
#                                                            to the same prompt, for a judge to compare
#        samples/quickstart/measure.pl wins RANKINGS         what the second of two answers won; a tie is half
#        samples/quickstart/measure.pl agreement RANKINGS   of the pairs of answers that two annotators both put in an
#                                                            order, the share that they put in the same
#        samples/quickstart/measure.pl bigrams CANDIDATES    different pairs of neighbouring words over all of them
#
# Prints one line of JSON; `pair` prints one a prompt.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Sample;

binmode STDOUT, ':utf8';
my ($what, @paths) = @ARGV;
options() if !defined $what || $what =~ /^-/;

sub responses { return map { @{$_->{responses}} } json_lines(@_); }

sub form {
    my ($followed, $count) = (0, 0);
    for my $response (responses(@_)) {
        $followed++ if follows_form($response->{text}, $response->{finish});
        $count++;
    }
    fail("$_[0] holds no answer") if !$count;
    return {followed => $followed, answers => $count, share => $followed / $count};
}

sub pair {
    my ($one, $other) = @_;
    my %others = map { $_->{id} => $_ } json_lines($other);
    for my $item (json_lines($one)) {
        my $match = $others{$item->{id}} // fail("$other has no item '$item->{id}', $one has");
        my @both = ({%{$item->{responses}[0]}, id => 'r0'}, {%{$match->{responses}[0]}, id => 'r1'});
        print json_line({id => $item->{id}, prompt => $item->{prompt}, responses => \@both});
    }
}

sub wins {
    my ($won, $lost, $tied) = (0, 0, 0);
    for my $judgment (json_lines(@_)) {
        my $ranking = $judgment->{ranking} // next;
        if (@$ranking == 1) { $tied++; }
        elsif ($ranking->[0][0] eq 'r1') { $won++; }
        else { $lost++; }
    }
    my $count = $won + $lost + $tied;
    fail("$_[0] holds no judgment") if !$count;
    return {won => $won, lost => $lost, tied => $tied, comparisons => $count, share => ($won + $tied / 2) / $count};
}

sub bigrams {
    my (%seen, $count);
    $count = 0;
    for my $response (responses(@_)) {
        my @words = map { lc } $response->{text} =~ /([\p{L}\p{M}']+)/g;
        for my $i (1 .. $#words) {
            $seen{"$words[$i - 1] $words[$i]"}++;
            $count++;
        }
    }
    fail("$_[0] holds no two words") if !$count;
    return {different => scalar(keys %seen), bigrams => $count, share => keys(%seen) / $count};
}

# What a reward model's accuracy compares with: it too is asked only about pairs that have an order.
sub agreement {
    my (%judgments, $alike, $count, $all);
    ($alike, $count, $all) = (0, 0, 0);
    for my $judgment (json_lines(@_)) {
        my $place = 0;
        my %rank;
        for my $group (@{$judgment->{ranking} // next}) {
            $rank{$_} = $place for @$group;
            $place++;
        }
        push @{$judgments{$judgment->{id}}}, [$judgment->{annotator}, \%rank];
        $all++;
    }
    for my $of_item (values %judgments) {
        for my $i (0 .. $#$of_item) {
            for my $j ($i + 1 .. $#$of_item) {
                next if $of_item->[$i][0] eq $of_item->[$j][0];
                my ($one, $other) = ($of_item->[$i][1], $of_item->[$j][1]);
                my @answers = sort keys %$one;
                for my $x (0 .. $#answers) {
                    for my $y ($x + 1 .. $#answers) {
                        my $first = $one->{$answers[$x]} <=> $one->{$answers[$y]};
                        my $second = $other->{$answers[$x]} <=> $other->{$answers[$y]};
                        next if $first == 0 || $second == 0;
                        $count++;
                        $alike++ if $first == $second;
                    }
                }
            }
        }
    }
    return {judgments => $all, pairs => $count, share => $count ? $alike / $count : undef};
}

my %measures = (form => [\&form, 1], pair => [\&pair, 2], wins => [\&wins, 1], bigrams => [\&bigrams, 1],
    agreement => [\&agreement, 1]);
my $measure = $measures{$what} // fail("unknown measure '$what' (try --help)");
fail("$what wants $measure->[1] file" . ($measure->[1] > 1 ? 's' : '') . " (try --help)") if @paths != $measure->[1];
my $result = $measure->[0]->(@paths);
print json_line($result) if ref $result;
